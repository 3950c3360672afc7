"""Claims and leases: which worker may write a generation's log, and for how long."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Any, Literal, cast

from millrace.worker.contract.events import FINAL_EVENTS, CancelledBy, StatusEvent, encode
from millrace.worker.contract.feed import publish_ended
from millrace.worker.contract.ids import Cursor, cursor_of
from millrace.worker.contract.keys import LEASES, keys_of
from millrace.worker.contract.lifetimes import (
    ENQUEUE_AGAIN_MS,
    STATE_MS,
    WATCHED_MS,
    lease_ms,
    log_ttl_ms,
    queue_ms,
    run_ms,
)
from millrace.worker.contract.log import Claim
from millrace.worker.contract.redis.connection import (
    Redis,
    check_some_available,
    is_unavailable,
    translate_redis_errors,
)
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, decode_request
from millrace.worker.contract.scripts import CLAIM, RECLAIM, RELEASE, RENEW, Argument, Reply, run_all
from millrace.worker.errors import LastAttempt
from millrace.worker.settings.schema import Settings


@dataclass(frozen=True)
class ClaimedGeneration:
    """A claimed generation: the claim, the log's last id, the number of this attempt, and the request."""

    claim: Claim
    top: Cursor
    attempt: int
    owner: str
    conversation: str
    message: str
    question: str
    """The id of the user's message; empty if the request is not a turn of a conversation, so that nothing is stored."""
    request: ModelRequest
    fields: tuple[bytes, ...]
    """The names and values, in turn, of the state's constant fields, to recreate the state if Redis loses all data."""
    request_id: str = ""
    """The id of the HTTP request, for the log."""
    waited_ms: int = 0
    """From the generation's creation to this claim."""

    @property
    def is_first_attempt(self) -> bool:
        """Whether no attempt before this one has written anything: the log holds at most its first event."""
        return self.attempt == 1 and self.top.seq <= 1


@dataclass(frozen=True)
class Reclaimed:
    """A claim renewed after Redis lost data; if `has_outcome`, only events that may follow an outcome are accepted."""

    claim: Claim
    top: Cursor
    has_outcome: bool


RenewalVerdict = Literal["held", "fenced", "lost", "expired"]


@dataclass(frozen=True)
class Renewal:
    """The reply to a renewal: the state of the claim, and who requested a cancel, if anyone.

    `held`: the lease is renewed. `lost`: Redis does not know this claim, or no longer. `fenced`: the generation has
    ended, or has another claim, which may be this worker's own from a reclaim whose reply was lost. `expired`: the
    claim has been held for the longest time allowed.
    """

    verdict: RenewalVerdict
    cancelled_by: CancelledBy | None


_CONSTANT_FIELDS = (
    *(b"owner", b"conversation", b"message", b"question", b"request"),
    *(b"summary", b"on_disconnect", b"grace_ms", b"request_id"),
)


def claim(
    streams: Streams, generation: str, settings: Settings, token: str | None = None, *, has_slot: bool = True
) -> ClaimedGeneration | None:
    """Claim a generation; returns None if it is held, has ended, is ended by this call, or does not exist.

    A process runs at most one generation on its last attempt at a time, so that a generation that kills its workers
    cannot cost another one its last attempt. Without `has_slot`, a claim for a last attempt raises LastAttempt.

    It is claimed at its home only: another process may have seen sooner that the home is back, and created it there.
    Raises RedisUnavailable. Then a sweep enqueues the generation again, or the caller claims again with the same
    `token` (16 random hexadecimal digits), which recognizes a claim whose reply was lost.
    """
    token = token or secrets.token_hex(8)
    arguments: tuple[Argument, ...] = (
        *(generation, token, lease_ms(settings), run_ms(settings), settings.generation.max_attempts),
        *(log_ttl_ms(settings), FINAL_EVENTS, int(has_slot), ENQUEUE_AGAIN_MS),
    )
    reply = cast("list[bytes]", CLAIM(streams.home_of(generation).redis, keys_of(generation), *arguments))
    if reply[0] == b"last_attempt":
        raise LastAttempt(generation)
    if reply[0] == b"ended":
        publish_ended(streams, [generation])
    if reply[0] != b"run":
        return None
    state = dict(zip(reply[4::2], reply[5::2], strict=True))
    return ClaimedGeneration(
        Claim(generation, token, int(reply[1])),
        cursor_of(reply[2]),
        int(reply[3]),
        state[b"owner"].decode(),
        state[b"conversation"].decode(),
        state[b"message"].decode(),
        state.get(b"question", b"").decode(),
        decode_request(state[b"request"]),
        tuple(part for name in _CONSTANT_FIELDS for part in (name, state.get(name, b""))),
        state.get(b"request_id", b"").decode(),
        max(0, int(state.get(b"run_until", b"0")) - run_ms(settings) - int(state.get(b"created", b"0"))),
    )


def reclaim(redis: Redis, holding: ClaimedGeneration, held: Claim, settings: Settings) -> Reclaimed | None:
    """Claim again a generation that this worker holds, after Redis lost data; None if another worker has it.

    `held` is this worker's newest claim. If everything is lost, the state and the first event are written again.
    Raises RedisUnavailable, after which it may be called again with the same `held`.
    """
    # The new token is derived from the old one, so that a second call recognizes a first one whose reply was lost.
    generation, token = held.generation, hashlib.sha256(held.token.encode()).hexdigest()[:16]
    first = first_event(generation, holding.conversation, holding.message)
    arguments: tuple[Argument, ...] = (
        *(generation, token, held.token, held.epoch, lease_ms(settings)),
        *(run_ms(settings), STATE_MS, holding.attempt, first),
        *holding.fields,
    )
    reply = cast("list[bytes]", RECLAIM(redis, keys_of(generation), *arguments))
    if reply[0] != b"run":
        return None
    return Reclaimed(Claim(generation, token, int(reply[1])), cursor_of(reply[2]), bool(reply[3]))


def first_event(generation: str, conversation: str, message: str) -> bytes:
    """Return the first event of every log, `status queued` with the ids, encoded."""
    return encode(StatusEvent("queued", generation=generation, conversation_id=conversation, message_id=message))


def renew_all(redis: Redis, claims: list[Claim], settings: Settings) -> list[Renewal | Exception]:
    """Renew all the leases in one round trip and return the replies in order; raises RedisUnavailable.

    For a renewal that Redis rejected, or that one master of a cluster could not serve, the list holds the exception.
    """
    replies = run_all(
        redis,
        [
            (RENEW, keys_of(each.generation), (each.generation, each.token, each.epoch, lease_ms(settings), WATCHED_MS))
            for each in claims
        ],
    )
    check_some_available(replies)
    return [_renewal(reply) for reply in replies]


def _renewal(reply: Reply) -> Renewal | Exception:
    if isinstance(reply, Exception):
        return reply
    verdict, by = cast("list[bytes]", reply)
    return Renewal(cast("RenewalVerdict", verdict.decode()), cast("CancelledBy", by.decode()) if by else None)


def release(streams: Streams, claim: Claim, settings: Settings) -> bool:
    """Release a claim so that another worker can take over at once; False if it was not held.

    Raises RedisUnavailable.
    """
    arguments = (claim.generation, claim.token, ENQUEUE_AGAIN_MS, queue_ms(settings))
    return RELEASE(streams.of(claim.generation), keys_of(claim.generation), *arguments) == b"released"


def have_ended(redis: Redis, generations: list[str]) -> list[bool | None]:
    """Return for each generation whether Redis has recorded its end, in one round trip; raises RedisUnavailable.

    None for one whose master, of a cluster, does not answer while others do.
    """
    pipeline = redis.pipeline(transaction=False)
    for generation in generations:
        pipeline.hexists(keys_of(generation).state, "done")
    return [None if _is_away(reply) else reply is True for reply in _run_some(pipeline)]


def count_unfinished(redis: Redis) -> int:
    """Return how many generations have not ended, in all buckets that can be read; raises RedisUnavailable."""
    pipeline = redis.pipeline(transaction=False)
    for leases in LEASES:
        pipeline.zcard(leases)
    return sum(reply for reply in _run_some(pipeline) if isinstance(reply, int))


def _run_some(pipeline: Any) -> list[Any]:
    """Run a pipeline; raises RedisUnavailable if no command could be served."""
    with translate_redis_errors():
        replies = cast("list[Any]", pipeline.execute(raise_on_error=False))
    check_some_available(replies)
    return replies


def _is_away(reply: Any) -> bool:
    return isinstance(reply, Exception) and is_unavailable(reply)
