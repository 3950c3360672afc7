"""Withdrawal of generations whose client got an error: nothing half-created stays behind."""

import time
from dataclasses import dataclass
from typing import Literal

from millrace.worker.contract.creation import Ids, withdraw
from millrace.worker.contract.redis.streams import CONTROL, Streams
from millrace.worker.errors import DatabaseUnavailable, RedisKeyInvalid
from millrace.worker.observability.logs import get_logger
from millrace.worker.store.database import Database
from millrace.worker.store.messages import delete_unanswered

MAX_PENDING = 1000

_log = get_logger(__name__)


@dataclass(frozen=True)
class NewGeneration:
    """A generation that is being created; `opens_conversation` where its conversation is new as well.

    `keeps_question`: once stored, the question stays, because it has replaced another one.
    """

    owner: str
    ids: Ids
    opens_conversation: bool
    keeps_question: bool = False


def withdraw_generation(
    streams: Streams, database: Database, new: NewGeneration
) -> Literal["withdrawn", "kept", "claimed"]:
    """Delete a generation together with its stored question; idempotent.

    Returns `claimed` where a worker has it after all, and `kept` where another request with the same Idempotency-Key
    has asked for it in the meantime. Raises RedisUnavailable, DatabaseUnavailable.
    """
    verdict = withdraw(streams, new.ids.generation)
    if verdict == "withdrawn" and new.ids.question and not new.keeps_question:
        owner, ids = new.owner, new.ids
        database.run(
            lambda session: delete_unanswered(
                session, owner, ids.conversation, ids.question, is_opening=new.opens_conversation
            )
        )
    return verdict


class PendingWithdrawals:
    """Withdrawals that wait until Redis and the database answer again.

    Each is tried until a sweep would enqueue the generation again, which is after half of `queue_seconds`.
    """

    def __init__(self, streams: Streams, database: Database, queue_seconds: float) -> None:
        self._streams = streams
        self._database = database
        self._life_seconds = queue_seconds / 2
        self._deadlines: dict[NewGeneration, float] = {}

    def add(self, new: NewGeneration) -> None:
        """Withdraw this generation at the next `retry`; beyond 1,000 pending ones it is left to the sweep."""
        if len(self._deadlines) < MAX_PENDING:
            self._deadlines[new] = time.monotonic() + self._life_seconds

    def retry(self, node: str = CONTROL) -> None:
        """Try every pending withdrawal of a node once; raises RedisUnavailable."""
        for new, deadline in list(self._deadlines.items()):
            if self._streams.node_of(new.ids.generation).name != node:
                continue
            if time.monotonic() < deadline:
                if not self._streams.answers(new.ids.generation):
                    continue  # one master of a cluster holds up no others
                try:
                    verdict = withdraw_generation(self._streams, self._database, new)
                except RedisKeyInvalid as error:  # the sweep removes it
                    _log.error("withdrawal_failed", generation=new.ids.generation, error=error)
                    del self._deadlines[new]
                    continue
                except DatabaseUnavailable as error:
                    _log.warning("withdrawal_postponed", generation=new.ids.generation, error=error)
                    continue
                _log.info("generation_withdrawn", generation=new.ids.generation, verdict=verdict)
            self._deadlines.pop(new, None)
