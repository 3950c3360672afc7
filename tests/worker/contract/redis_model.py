"""The machine's model of Redis: its losses, its messages, the current claims, and every entry a log ever had."""

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

from millrace.worker.contract.events import Done, Title, decode, kind_of
from millrace.worker.contract.ids import START, Cursor, cursor_of
from millrace.worker.contract.keys import channel_of, keys_of
from millrace.worker.contract.log import LogEntry
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.sweep import SweepResult, sweep
from millrace.worker.contract.transcript import Transcript
from tests.worker.contract.generations import SETTINGS, field, make_due

STATUS_AFTER = {"complete": b"completed", "cancelled": b"cancelled", "error": b"failed"}
_PIECE = re.compile(r"<(\d+):(\d+)>")


@dataclass(frozen=True)
class SavedState:
    """The content of Redis at an earlier time, and the model's knowledge at that time."""

    values: dict[str, bytes]
    changed_at: dict[str, int]
    takes: dict[str, int]


class RedisModel:
    """One Redis and the machine's knowledge of it; `check` raises AssertionError when a log violates an invariant."""

    def __init__(self, redis: Redis) -> None:
        self.redis = redis
        self.generations: list[str] = []
        self.live: list[str] = []  # generations that existed and had not ended at the last check
        self.losses = 0  # how often data was lost
        self.changed_at: dict[str, int] = {}  # the tick at which a generation last gained or lost a holder
        self.takes: dict[str, int] = {}  # how often a sweep took a generation from its holder
        self._ticks = 0
        self._moments: list[SavedState] = []
        self._bytes_at: dict[tuple[str, Cursor], bytes] = {}
        self._text_at: dict[tuple[str, Cursor], str] = {}
        redis.flushall()
        self._pubsub = redis.pubsub()
        self._pubsub.psubscribe("mr:{*")  # the logs' channels only; an owner's feed guarantees less
        assert self._pubsub.get_message(timeout=30)

    def close(self) -> None:
        self._pubsub.close()

    def mark(self, generation: str) -> int:
        """Record that the holder of the generation has changed; return the tick of the change."""
        self._ticks += 1
        self.changed_at[generation] = self._ticks
        return self._ticks

    def exists(self, generation: str) -> bool:
        return bool(self.redis.exists(keys_of(generation).state))

    def holder(self, generation: str) -> str:
        return field(self.redis, generation, "token") or ""

    def holders(self) -> dict[str, str]:
        """Return the token under which each generation is held, or an empty string if it is not held."""
        pipeline = self.redis.pipeline(transaction=False)
        for generation in self.generations:
            pipeline.hget(keys_of(generation).state, "token")
        tokens: list[bytes | None] = pipeline.execute()
        return {each: (token or b"").decode() for each, token in zip(self.generations, tokens, strict=True)}

    def published(self) -> Iterator[tuple[str, Cursor, bytes]]:
        """Yield every message published since the last call."""
        names = {channel_of(each): each for each in self.generations}
        self._pubsub.ping()
        while True:
            message: dict[str, Any] | None = self._pubsub.get_message(timeout=30)
            assert message is not None
            if message["type"] == "pong":
                return
            cursor, _, data = cast("bytes", message["data"]).partition(b" ")
            yield names[cast("bytes", message["channel"])], cursor_of(cursor), data

    def save(self) -> None:
        """Save the current state, to which a restart may return."""
        names = sorted({key for each in self.generations for key in keys_of(each)[:3]})
        pipeline = self.redis.pipeline(transaction=False)
        for name in names:
            pipeline.dump(name)
        values = {name: value for name, value in zip(names, pipeline.execute(), strict=True) if value}
        self._moments.append(SavedState(values, dict(self.changed_at), dict(self.takes)))

    def restart(self, back: int | None) -> None:
        """Lose the changes after one of the last saved states, or everything if `back` is None.

        As in production, it takes longer than the smallest step of the clock.
        """
        newest = max((int(field(self.redis, each, "epoch") or 0) for each in self.generations), default=0)
        moment = SavedState({}, {}, {}) if back is None else self._moments[-min(back, len(self._moments))]
        self.losses += 1
        self.changed_at, self.takes = dict(moment.changed_at), dict(moment.takes)
        pipeline = self.redis.pipeline(transaction=False)
        pipeline.flushall()
        for name, value in moment.values.items():
            pipeline.restore(name, 0, value)
        pipeline.execute()
        deadline = time.monotonic() + 60
        while self._epoch_of_now() <= newest:
            assert time.monotonic() < deadline
            time.sleep(0.0005)

    def _epoch_of_now(self) -> int:
        seconds, micros = self.redis.time()
        return seconds * 1000 + micros // 1000 - 1_735_689_600_000

    def sweep_and_mark(self) -> SweepResult:
        """Sweep, and mark the generations taken from their holders."""
        before = self.holders()
        swept = sweep(Streams(self.redis), SETTINGS)
        after = self.holders()
        for each, token in before.items():
            if token and after[each] != token:
                self.mark(each)
                self.takes[each] = self.takes.get(each, 0) + 1
                is_spent = self.takes[each] >= SETTINGS.generation.max_attempts
                assert not is_spent or field(self.redis, each, "done"), "the number of attempts is not limited"
        return swept

    def expire_deadlines(self, generation: str) -> None:
        """Expire the deadlines within which a generation waits for a worker."""
        names = ("queue_until", "ring_until")
        for name in names:
            if field(self.redis, generation, name) is not None:
                self.redis.hset(keys_of(generation).state, name, "1")
        make_due(self.redis, generation)

    def text_at(self, generation: str, cursor: Cursor) -> str:
        """Return the text at a cursor that some log of the generation once had."""
        return "" if cursor == START else self._text_at[generation, cursor]

    def check(self) -> None:
        """Check the invariants of every log."""
        pipeline = self.redis.pipeline(transaction=False)
        for generation in self.generations:
            keys = keys_of(generation)
            pipeline.xrange(keys.log)
            pipeline.hmget(keys.state, "top", "done", "status")
            pipeline.zscore(keys.leases, generation)
        answers: list[Any] = pipeline.execute()
        self.live = []
        for generation, rows, state, score in zip(self.generations, *(answers[n::3] for n in range(3)), strict=True):
            if rows:
                entries = [LogEntry(cursor_of(key), values[b"d"]) for key, values in rows]
                self._check_state(generation, self._check_log(generation, entries), state, is_leased=score is not None)

    def _check_log(self, generation: str, entries: list[LogEntry]) -> Transcript:
        transcript = Transcript()
        assert [entry.cursor.seq for entry in entries] == list(range(1, len(entries) + 1)), (
            "an event is missing from the log"
        )
        assert all(left.cursor < right.cursor for left, right in pairwise(entries))
        for entry in entries:
            key = (generation, entry.cursor)
            assert self._bytes_at.setdefault(key, entry.data) == entry.data, f"{entry.cursor} was issued twice"
            event = decode(entry.data)
            assert not transcript.is_done, "an event after done"
            assert transcript.outcome is None or isinstance(event, Title | Done), f"{event} after the outcome"
            assert not isinstance(event, Done) or transcript.outcome is not None, "done without an outcome"
            transcript.apply(event)
            assert is_of_one_attempt(transcript.content), f"text of several attempts: {transcript.content}"
            assert self._text_at.setdefault(key, transcript.content) == transcript.content
        return transcript

    def _check_state(
        self, generation: str, transcript: Transcript, state: list[bytes | None], *, is_leased: bool
    ) -> None:
        top, done, status = state
        assert top is not None
        assert self._text_at[generation, cursor_of(top)] == transcript.content
        assert (done is not None) == transcript.is_done, "the state and the log disagree about the end"
        if transcript.outcome is not None:
            assert status == STATUS_AFTER[kind_of(transcript.outcome)], f"{status} after {transcript.outcome}"
        assert is_leased == (not transcript.is_done), (
            "an unfinished generation has no lease, or an ended one still has a lease"
        )
        if not transcript.is_done:
            self.live.append(generation)


def is_of_one_attempt(text: str) -> bool:
    """Return whether the text belongs to one attempt, with no piece missing, repeated or added."""
    pieces = [(int(serial), int(number)) for serial, number in _PIECE.findall(text)]
    return not pieces or pieces == [(pieces[0][0], number) for number in range(len(pieces))]
