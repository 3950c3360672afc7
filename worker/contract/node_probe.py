"""The probe of a stream node: asks it every second whether it answers, so that no request has to find out."""

import time

from redis.exceptions import RedisError

from millrace.worker.contract.connection import connect, place_of
from millrace.worker.contract.streams import CONTROL, NodeStatus, Streams
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

PROBE_SECONDS = 1.0
REPLY_SECONDS = 1.0

_log = get_logger(__name__)


class NodeProbe:
    """Sets the status of one node, with a connection of its own. The process calls `probe` every `PROBE_SECONDS`."""

    def __init__(self, name: str, url: str, status: NodeStatus) -> None:
        self._node = name
        self._place = place_of(url)
        self._status = status
        self._redis = connect(url, timeout_seconds=REPLY_SECONDS, retries=0, connections=1)

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def probe(self) -> None:
        """Ask the node once."""
        try:
            self._redis.ping()
        except RedisError as error:
            if self._status.down_since is None:
                self._status.down_since = time.monotonic()
                _log.error("stream_node_down", node=self._node, place=self._place, error=error)
            return
        if self._status.down_since is not None:
            seconds = round(time.monotonic() - self._status.down_since, 1)
            self._status.down_since = None
            _log.warning("stream_node_up", node=self._node, place=self._place, seconds=seconds)


def make_probes(settings: Settings, streams: Streams) -> list[NodeProbe]:
    """Return a probe for each node but the control Redis, which has no substitute."""
    urls = dict(settings.redis.stream_nodes)
    return [NodeProbe(node.name, urls[node.name], node.status) for node in streams.nodes if node.name != CONTROL]
