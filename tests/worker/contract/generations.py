"""Generations in every state that the tests need, and functions that expire deadlines without waiting."""

from dataclasses import replace
from typing import cast

from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import (
    AnyEvent,
    Chunk,
    Complete,
    Done,
    Latency,
    StatusEvent,
    Usage,
    decode,
    encode,
    kind_of,
)
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import ClaimedGeneration, claim
from millrace.worker.contract.log import Append, AppendResult, Claim, append_all, read
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.sweep import SweepResult, sweep
from millrace.worker.settings.schema import Settings

SETTINGS = Settings()
LOG_TTL_MS = 60_000

RUNNING = StatusEvent("running", attempt=1)
COMPLETE = Complete("live", "end_turn", Usage(3, 4), Latency(10, 20), "model", "bedrock", "m" * 32, stored=True)
DONE = Done("completed")


def new_draft(text: str = "hello") -> Draft:
    """Return the draft of a generation with fresh ids."""
    return Draft(new_ids(), "owner", ModelRequest([PromptMessage("user", text)], "model", 100), "continue", 60.0)


def create_queued(redis: Redis, settings: Settings = SETTINGS) -> str:
    """Create a generation that is queued; return its id."""
    draft = new_draft()
    create(Streams(redis), draft, settings)
    return draft.ids.generation


def create_cancel_on_disconnect(redis: Redis) -> str:
    """Create a generation that is cancelled after 60 s without a reader; return its id."""
    draft = replace(new_draft(), on_disconnect="cancel")
    create(Streams(redis), draft, SETTINGS)
    return draft.ids.generation


def claim_generation(redis: Redis, generation: str | None = None, settings: Settings = SETTINGS) -> ClaimedGeneration:
    """Claim a generation, a new one by default."""
    holding = claim(Streams(redis), generation or create_queued(redis, settings), settings)
    assert holding is not None
    return holding


def append_event(redis: Redis, claimed: Claim, seq: int, event: AnyEvent) -> AppendResult:
    """Append one event."""
    answer = append_all(redis, [Append(claimed, seq, kind_of(event), encode(event))], LOG_TTL_MS)[0]
    assert isinstance(answer, AppendResult), answer
    return answer


def create_completed(redis: Redis) -> ClaimedGeneration:
    """Create a generation whose log is: queued, running, `hi`, complete, done (seq 1 to 5)."""
    holding = claim_generation(redis)
    for seq, event in enumerate((RUNNING, Chunk("hi"), COMPLETE, DONE), 2):
        append_event(redis, holding.claim, seq, event)
    return holding


def log_of(redis: Redis, generation: str) -> list[AnyEvent]:
    """Return the events of the log."""
    return [decode(entry.data) for entry in read(Streams(redis), generation).entries]


def kinds_of(redis: Redis, generation: str) -> list[str]:
    """Return the types of the log's events."""
    return [kind_of(event) for event in log_of(redis, generation)]


def cursors_of(redis: Redis, generation: str) -> list[Cursor]:
    """Return the ids of the log's events."""
    return [entry.cursor for entry in read(Streams(redis), generation).entries]


def field(redis: Redis, generation: str, name: str) -> str | None:
    """Return one field of the state, or None if it is absent."""
    value = cast("bytes | None", redis.hget(keys_of(generation).state, name))
    return None if value is None else value.decode()


def make_due(redis: Redis, generation: str) -> None:
    """Make the generation due for the next sweep."""
    assert is_leased(redis, generation), "the generation has no lease, so no sweep finds it"
    redis.zadd(keys_of(generation).leases, {generation: 1})


def expire_deadlines(redis: Redis, generation: str, *deadlines: str) -> None:
    """Expire these deadlines in the state, and make the generation due for the next sweep."""
    redis.hset(keys_of(generation).state, mapping=dict.fromkeys(deadlines, 1))
    make_due(redis, generation)


def sweep_when_due(redis: Redis, generation: str, settings: Settings = SETTINGS) -> SweepResult:
    """Make the generation due, then sweep once."""
    make_due(redis, generation)
    return sweep(Streams(redis), settings)


def sweep_twice(redis: Redis, generation: str, settings: Settings = SETTINGS) -> SweepResult:
    """Sweep twice, as happens when the holder is lost; return the result of the second sweep, which takes over."""
    assert sweep_when_due(redis, generation, settings) == SweepResult([], 1, [])
    return sweep_when_due(redis, generation, settings)


def is_leased(redis: Redis, generation: str) -> bool:
    """Return whether the generation has a lease, so that a sweep will find it."""
    return redis.zscore(keys_of(generation).leases, generation) is not None
