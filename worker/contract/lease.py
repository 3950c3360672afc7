"""Claims and leases: who may write a generation's log, for how long, and what becomes of one whose holder is gone."""

import hashlib
import random
import secrets
from dataclasses import dataclass
from typing import Literal, cast

from millrace.worker.contract.connection import Redis, is_unavailable, translate_redis_errors
from millrace.worker.contract.endings import ENDINGS
from millrace.worker.contract.events import CancelledBy, StatusEvent, encode
from millrace.worker.contract.feed import publish_ended
from millrace.worker.contract.ids import Cursor, cursor_of
from millrace.worker.contract.keys import LEASES, keys_of
from millrace.worker.contract.log import Claim
from millrace.worker.contract.request import ModelRequest, decode_request
from millrace.worker.contract.scripts import CLAIM, LIST_DUE, RECLAIM, RELEASE, RENEW, SWEEP, Argument, Reply, run_all
from millrace.worker.errors import LastAttempt, RedisUnavailable
from millrace.worker.settings.schema import Settings

STATE_LIFE_MS = 25 * 3600 * 1000
SUSPICION_MS = 3500  # a stall of Redis itself is over by then, and the living have renewed
RING_MS = 3000  # a generation that waits for its next holder is rung again this often
WATCHED_MS = 15_000
LATE_TAKEOVER_MS = 10_000  # at most; spread, so that a poison generation does not take its neighbours' attempts
RUN_SLACK_MS = 30_000  # the worker ends an answer at its own limit; the lease only ends a stuck greenlet's
_SWEEP_AT_ONCE = 200


@dataclass(frozen=True)
class ClaimedGeneration:
    """A claimed generation: the claim, the log's last id, which attempt this is, and what is to be answered.

    `question` is the id of the stored question that `message` answers; empty where the request is no turn of a
    conversation, and nothing is stored.
    """

    claim: Claim
    top: Cursor
    attempt: int
    owner: str
    conversation: str
    message: str
    question: str
    """The id of the user's message; empty where it belongs to no conversation, and nothing is stored."""
    request: ModelRequest
    fields: tuple[bytes, ...]
    """The state's constant fields and values, to make it anew where Redis loses everything."""
    request_id: str = ""
    """The id of the request that asked, for the log."""

    @property
    def is_first_attempt(self) -> bool:
        """Whether nothing but the first event has been written: no attempt before this one has left anything behind."""
        return self.attempt == 1 and self.top.seq <= 1


@dataclass(frozen=True)
class Reclaimed:
    """A claim made again after Redis lost data; where an outcome is in the log already, only the rest may follow."""

    claim: Claim
    top: Cursor
    has_outcome: bool


RenewalVerdict = Literal["held", "fenced", "lost", "expired"]


@dataclass(frozen=True)
class Renewal:
    """The answer to a renewal: what has become of the claim, and who asked to cancel.

    `lost`: Redis knows nothing of this claim any more. `fenced`: it is another's, or has ended; but the other may be
    this very worker by a reclaim whose reply was lost. `expired`: it was held for as long as one may be.
    """

    verdict: RenewalVerdict
    cancelled_by: CancelledBy | None


@dataclass(frozen=True)
class SweepResult:
    """What a sweep came upon: generations to ring, and how many were suspected or ended."""

    ring: list[str]
    suspected: int
    ended: int


_CONSTANT = (
    *(b"owner", b"conversation", b"message", b"question", b"request"),
    *(b"on_disconnect", b"grace_ms", b"request_id"),
)


def claim(
    redis: Redis, generation: str, settings: Settings, token: str | None = None, *, has_slot: bool = True
) -> ClaimedGeneration | None:
    """Claim a generation for a run; None where it is held, has ended, is ended by this call, or is gone.

    Of those that have their last chance a process runs one at a time: without the seat for it, LastAttempt is raised
    for such a one. So what kills its worker each time takes at last only itself.

    Raises RedisUnavailable, after which the same generation is simply rung again by a sweep; or the caller tries again with
    the same `token` (16 random hexadecimal digits; fresh by default), under which an unheard claim is found.
    """
    token = token or secrets.token_hex(8)
    lease_ms, run_ms = (
        int(settings.generation.lease_seconds * 1000),
        int(settings.generation.max_seconds * 1000) + RUN_SLACK_MS,
    )
    log_ttl_ms = int(settings.generation.log_ttl_seconds * 1000)
    reply = cast(
        "list[bytes]",
        CLAIM(
            redis,
            keys_of(generation),
            *(generation, token, lease_ms, run_ms, settings.generation.max_attempts, log_ttl_ms, ENDINGS),
            *(int(has_slot), RING_MS),
        ),
    )
    if reply[0] == b"later":
        raise LastAttempt(generation)
    if reply[0] == b"ended":
        publish_ended(redis, [generation])
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
        tuple(part for name in _CONSTANT for part in (name, state.get(name, b""))),
        state.get(b"request_id", b"").decode(),
    )


def reclaim(redis: Redis, holding: ClaimedGeneration, held: Claim, settings: Settings) -> Reclaimed | None:
    """Claim again what this worker holds, after Redis lost entries or everything; None where somebody else has it.

    `held` is the newest claim of this worker's. Where all is lost, the state and the first event are made anew.
    Raises RedisUnavailable, after which it may be called again with the same `held`.
    """
    # The new token follows from the old, so that a second call knows what a first one, its reply lost, has claimed.
    generation, token = held.generation, hashlib.sha256(held.token.encode()).hexdigest()[:16]
    first = first_event(generation, holding.conversation, holding.message)
    arguments: tuple[Argument, ...] = (
        *(generation, token, held.token, held.epoch, int(settings.generation.lease_seconds * 1000)),
        *(int(settings.generation.max_seconds * 1000) + RUN_SLACK_MS, STATE_LIFE_MS, holding.attempt, first),
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
    """Renew all the leases in one round trip, and learn who asked to cancel; raises RedisUnavailable.

    A renewal that Redis refused has its exception in its place, unless that says that Redis is away for all of them.
    """
    lease_ms = int(settings.generation.lease_seconds * 1000)
    replies = run_all(
        redis,
        [
            (RENEW, keys_of(each.generation), (each.generation, each.token, each.epoch, lease_ms, WATCHED_MS))
            for each in claims
        ],
    )
    for reply in replies:
        if isinstance(reply, Exception) and is_unavailable(reply):
            raise RedisUnavailable(str(reply)) from reply
    return [_renewal(reply) for reply in replies]


def _renewal(reply: Reply) -> Renewal | Exception:
    if isinstance(reply, Exception):
        return reply
    verdict, by = cast("list[bytes]", reply)
    return Renewal(cast("RenewalVerdict", verdict.decode()), cast("CancelledBy", by.decode()) if by else None)


def have_ended(redis: Redis, generations: list[str]) -> list[bool]:
    """Tell of each whether Redis knows that it has ended, in one round trip; raises RedisUnavailable."""
    with translate_redis_errors():
        pipeline = redis.pipeline(transaction=False)
        for generation in generations:
            pipeline.hexists(keys_of(generation).state, "done")
        return cast("list[bool]", pipeline.execute())


def count_unfinished(redis: Redis) -> int:
    """Return how many generations have not ended; raises RedisUnavailable."""
    with translate_redis_errors():
        pipeline = redis.pipeline(transaction=False)
        for leases in LEASES:
            pipeline.zcard(leases)
        return sum(cast("list[int]", pipeline.execute()))


def release(redis: Redis, claim: Claim, settings: Settings) -> bool:
    """Give a claim up so that another worker can take over at once; False where it was not held. Raises RedisUnavailable."""
    arguments = (claim.generation, claim.token, RING_MS, int(settings.generation.queue_seconds * 1000))
    return RELEASE(redis, keys_of(claim.generation), *arguments) == b"released"


def sweep(redis: Redis, settings: Settings) -> SweepResult:
    """Look at every generation whose time in the leases has come; the caller rings those returned. Raises RedisUnavailable.

    Any process may sweep, at any time, any number at once: each decision is one script's.
    """
    buckets = run_all(redis, [(LIST_DUE, (leases,), (_SWEEP_AT_ONCE,)) for leases in LEASES])
    due = [
        generation.decode()
        for bucket in buckets
        if isinstance(bucket, list)
        for generation in cast("list[bytes]", bucket)
    ]
    if not due:
        return SweepResult([], 0, 0)
    queue_ms, log_ttl_ms = (
        int(settings.generation.queue_seconds * 1000),
        int(settings.generation.log_ttl_seconds * 1000),
    )
    verdicts = run_all(
        redis,
        [
            (
                SWEEP,
                keys_of(generation),
                (
                    *(generation, SUSPICION_MS, RING_MS, queue_ms, random.randint(RING_MS // 2, LATE_TAKEOVER_MS)),
                    *(settings.generation.max_attempts, log_ttl_ms, ENDINGS),
                ),
            )
            for generation in due
        ],
    )
    ring = [generation for generation, verdict in zip(due, verdicts, strict=True) if verdict == b"ring"]
    ended = [generation for generation, verdict in zip(due, verdicts, strict=True) if verdict == b"ended"]
    publish_ended(redis, ended)
    return SweepResult(ring, verdicts.count(b"suspect"), len(ended))
