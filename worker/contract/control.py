"""Cancelling a generation, from outside and at any point of its life."""

from dataclasses import dataclass
from typing import cast

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.endings import ENDINGS
from millrace.worker.contract.events import CancelledBy, Status
from millrace.worker.contract.feed import publish_ended
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.scripts import CANCEL
from millrace.worker.settings.schema import Settings


@dataclass(frozen=True)
class CancelReply:
    """The status after asking: `has_ended` where the generation had ended before, or has ended by this very call."""

    status: Status
    has_ended: bool
    had_ended_before: bool


def cancel(redis: Redis, generation: str, by: CancelledBy, settings: Settings) -> CancelReply | None:
    """Ask for the end of a generation, or end it where nobody holds it; None where there is none.

    Asking again changes nothing. Raises RedisUnavailable.
    """
    log_ttl_ms = int(settings.generation.log_ttl_seconds * 1000)
    verdict, status = cast("list[bytes]", CANCEL(redis, keys_of(generation), generation, by, log_ttl_ms, ENDINGS))
    if verdict == b"lost":
        return None
    if verdict == b"ended":
        publish_ended(redis, [generation])
    return CancelReply(cast("Status", status.decode()), verdict in (b"over", b"ended"), verdict == b"over")
