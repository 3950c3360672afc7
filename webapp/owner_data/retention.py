"""Deletion of what has expired, in small steps: one process of all that share a database does it in each minute.

A pass ends when nothing is left or its time is over; what is left waits for the next one.
"""

import time
from collections.abc import Callable

import gevent
from prometheus_client import CollectorRegistry, Counter

from millrace.webapp.owner_data.stores import Stores
from millrace.worker.contract.feed import ConversationChanged, publish
from millrace.worker.contract.retention import take_retention_turn
from millrace.worker.observability.logs import get_logger
from millrace.worker.store import retention

PASS_SECONDS = 20.0  # of the minute until the next pass
PAUSE_SECONDS = 0.05  # between two steps, for requests
CONVERSATIONS = 20  # in one step
ROWS = 200  # likewise, of memories and of empty rows

_log = get_logger(__name__)


class Retention:
    """Deletes expired conversations and memories."""

    def __init__(self, stores: Stores, process: str, registry: CollectorRegistry) -> None:
        self._stores = stores
        self._process = process
        self._days = stores.settings.database.retention_days
        self._passes = Counter(
            "millrace_retention_passes",
            "Passes that deleted expired data: `complete`, or `partial` where some was left for the next one.",
            ["result"],
            registry=registry,
        )
        # Prometheus sees no increase in a series that begins with its first event, and no missing one in none.
        for result in ("complete", "partial"):
            self._passes.labels(result)
        self._deleted = Counter(
            "millrace_retention_deleted",
            "Expired `conversations` and `memories`, and `messages` of deleted conversations, that were deleted.",
            ["kind"],
            registry=registry,
        )
        for kind in ("conversations", "messages", "memories"):
            self._deleted.labels(kind)

    def delete_expired(self) -> None:
        """Make one pass, unless another process has the turn; raises RedisUnavailable, DatabaseUnavailable."""
        if not take_retention_turn(self._stores.redis, self._stores.database.name, self._process):
            return
        until = time.monotonic() + PASS_SECONDS
        steps = self._delete_conversations, self._remove_messages, self._remove_memories, self._remove_tombstones
        are_complete = [_repeat(step, until) for step in steps]  # each has a turn, however much the first one finds
        self._passes.labels("complete" if all(are_complete) else "partial").inc()

    def _delete_conversations(self) -> int:
        stores = self._stores
        found = stores.database.run(lambda session: retention.find_expired(session, self._days, CONVERSATIONS))
        marked = 0
        for each in found:
            # Before Redis: a conversation that has been used since has changed, and stays.
            if not stores.database.run(lambda session, each=each: retention.mark_expired(session, each)):
                continue
            marked += 1
            stores.forget(stores.close_conversation(each.owner, each.id))
            publish(stores.redis, each.owner, ConversationChanged(each.id))
        self._count("conversations", marked)
        return len(found)

    def _remove_messages(self) -> int:
        found = self._stores.database.run(lambda session: retention.find_unremoved(session, CONVERSATIONS))
        self._count("messages", sum(self._stores.remove_messages(each) for each in found))
        return len(found)

    def _remove_memories(self) -> int:
        removed = self._stores.database.run(
            lambda session: retention.remove_expired_memories(session, self._days, ROWS)
        )
        self._count("memories", removed)
        return removed

    def _remove_tombstones(self) -> int:
        return self._stores.database.run(lambda session: retention.remove_tombstones(session, ROWS))

    def _count(self, kind: str, number: int) -> None:
        if number:
            self._deleted.labels(kind).inc(number)
            _log.info("expired_data_deleted", kind=kind, number=number)


def _repeat(step: Callable[[], int], until: float) -> bool:
    """Repeat a step, which returns how much it found, until it finds nothing; False where the time was over before."""
    while step():
        if time.monotonic() > until:
            return False
        gevent.sleep(PAUSE_SECONDS)
    return True
