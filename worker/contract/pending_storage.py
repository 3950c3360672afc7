"""The generations that have ended and whose answer the database may lack: noted by the script that ends one."""

from dataclasses import dataclass
from typing import cast

from millrace.worker.contract.connection import Redis
from millrace.worker.contract.keys import UNSTORED, keys_of
from millrace.worker.contract.scripts import REMOVE_PENDING, TAKE_PENDING, run_all

_AT_ONCE = 50  # of a bucket's


@dataclass(frozen=True)
class PendingAnswer:
    """A generation whose answer is to be stored; `score` is by when somebody else looks into it."""

    generation: str
    score: bytes


def take_due(redis: Redis, put_off_ms: int) -> list[PendingAnswer]:
    """Take what is due, and put it off, so that no other process is about it meanwhile; raises RedisUnavailable."""
    replies = run_all(redis, [(TAKE_PENDING, (bucket,), (_AT_ONCE, put_off_ms)) for bucket in UNSTORED])
    taken: list[PendingAnswer] = []
    for reply in replies:
        if isinstance(reply, list):
            *generations, score = cast("list[bytes]", reply)
            taken += [PendingAnswer(generation.decode(), score) for generation in generations]
    return taken


def remove_pending(redis: Redis, arrear: PendingAnswer) -> None:
    """Forget one that is stored, or never will be, unless it has been noted anew; raises RedisUnavailable."""
    REMOVE_PENDING(redis, (keys_of(arrear.generation).unstored,), arrear.generation, arrear.score)
