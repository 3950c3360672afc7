"""The log writers of one stream node: one for each server of it, so that one that hangs holds up no generation of
another.
"""

from collections import Counter

import gevent

from millrace.worker.contract.redis.streams import Server, StreamNode
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import LogWriter
from millrace.worker.settings.schema import Settings


class LogWriters:
    """One writer for a node that is one server; for a cluster, one per master, made when it is first needed."""

    def __init__(self, node: StreamNode, settings: Settings, give_up_seconds: float) -> None:
        self._node = node
        self._settings = settings
        self._give_up_seconds = give_up_seconds
        self._writers: dict[Server, LogWriter] = {}
        self._is_running = False

    def of(self, generation: str) -> LogWriter:
        """Return the writer for a generation's log.

        The generation keeps it: if its slot moves to another master, it waits there with those of the first one.
        """
        server = self._node.server_of(generation)
        writer = self._writers.get(server)
        if writer is None:
            writer = self._writers[server] = LogWriter(self._node.redis, self._settings, self._give_up_seconds)
            if self._is_running:
                writer.start()
        return writer

    def recover(self, outbox: Outbox) -> None:
        """Reclaim a generation, as `LogWriter.recover` does; any of the writers may, while its own one appends."""
        self.of(outbox.claim.generation).recover(outbox)

    @property
    def verdicts(self) -> Counter[str]:
        """The replies to appends so far."""
        return sum((each.verdicts for each in self._writers.values()), Counter[str]())

    @property
    def sent_bytes(self) -> int:
        """The size of the events sent so far."""
        return sum(each.sent_bytes for each in self._writers.values())

    def start(self) -> None:
        """Start the writers, and from now on each new one."""
        self._is_running = True
        for writer in self._writers.values():
            writer.start()

    def stop(self) -> None:
        """Stop the writers after their current round trips, for at most a second."""
        self._is_running = False
        gevent.joinall([gevent.spawn(each.stop) for each in self._writers.values()])
