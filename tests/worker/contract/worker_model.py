"""A model of a worker that holds a generation and follows the rules of the contract."""

from collections import deque
from enum import Enum
from typing import cast

from millrace.worker.contract.events import AnyEvent, Cancelled, Chunk, Done, Snapshot, Title, Usage, encode, kind_of
from millrace.worker.contract.lease import ClaimedGeneration, Reclaimed, Renewal, reclaim, release, renew_all
from millrace.worker.contract.log import Append, AppendResult, Claim, Verdict, append_all
from millrace.worker.contract.redis.streams import Streams
from tests.worker.contract.generations import DONE, LOG_TTL_MS, RUNNING, SETTINGS, field
from tests.worker.contract.redis_model import RedisModel


class Fate(Enum):
    """The fate of a round trip to Redis."""

    DELIVERED = "delivered"
    REPLY_LOST = "reply lost"
    REQUEST_LOST = "request lost"


class WorkerModel:
    """One claim and the calls made under it. `serial` marks its text, which distinguishes the text of two attempts."""

    def __init__(self, redis_model: RedisModel, holding: ClaimedGeneration, serial: int) -> None:
        self.redis_model = redis_model
        self.holding = holding
        self.claim = holding.claim
        self.serial = serial
        self.claimed_at = redis_model.mark(holding.claim.generation)
        self.losses = redis_model.losses
        self.is_running = True
        self.is_paused = False
        self.must_reclaim = False
        self.has_ended = False
        self.outcome: AnyEvent | None = None
        self.ending: list[AnyEvent] = []
        self.acknowledged: list[AnyEvent] = []
        self.queue: deque[tuple[int, AnyEvent]] = deque()
        self.next_seq = holding.top.seq + 1
        self.chunk_count = 0
        self.write(RUNNING if holding.attempt == 1 else Snapshot("", "", [], [], "takeover"))

    @property
    def generation(self) -> str:
        return self.claim.generation

    @property
    def is_awake(self) -> bool:
        return self.is_running and not self.is_paused

    def write(self, event: AnyEvent) -> None:
        self.queue.append((self.next_seq, event))
        self.next_seq += 1

    def generate(self) -> None:
        self.write(Chunk(f"<{self.serial}:{self.chunk_count}>"))
        self.chunk_count += 1

    def end(self, outcome: AnyEvent, *, has_title: bool = False) -> None:
        self.outcome = outcome
        title = [Title("a title")] if has_title else []
        self.ending = [outcome, *title, Done("cancelled") if isinstance(outcome, Cancelled) else DONE]
        for event in self.ending:
            self.write(event)

    def batch(self, skipped: int, count: int) -> list[Append]:
        """Return some of the unacknowledged appends; a sequence number always has the same bytes."""
        some = list(self.queue)[skipped : skipped + count]
        return [Append(self.claim, seq, kind_of(event), encode(event)) for seq, event in some]

    def send(self, appends: list[Append], fate: Fate) -> None:
        if fate is Fate.REQUEST_LOST or not appends:
            return
        answers = deliver(self.redis_model, appends)
        if fate is Fate.DELIVERED:
            for append, answer in zip(appends, answers, strict=True):
                if not self._react(append, answer):
                    break

    def _react(self, append: Append, answer: AppendResult) -> bool:
        """React to one answer; return False if the answers after it add nothing."""
        if answer.cancelled_by is not None and self.outcome is None:
            self.end(Cancelled(answer.cancelled_by, Usage(exact=False)))
        match answer.verdict:
            case Verdict.APPENDED | Verdict.DUP:
                while self.queue and self.queue[0][0] <= append.seq:
                    self.acknowledged.append(self.queue.popleft()[1])
                if not self.queue and self.outcome is not None:
                    self.is_running = False
                    self.has_ended = True
                return True
            case Verdict.FENCED:
                self._stop()
            case Verdict.OVER:
                self.is_running = False
            case Verdict.LOST:
                self._lose()
            case Verdict.GAP:
                missing = answer.top.seq + 1
                assert missing < append.seq, "a gap was reported after the events that are present"
                if missing < self.queue[0][0]:
                    self._lose()
        return False

    def _lose(self) -> None:
        assert self.redis_model.losses > self.losses, "a loss was reported although nothing was lost"
        self.must_reclaim = True

    def _stop(self) -> None:
        is_over = (
            field(self.redis_model.redis, self.generation, "done") == "1"
        )  # ended by its own `done`, whose reply was lost
        assert is_over or self.redis_model.changed_at.get(self.generation, 0) > self.claimed_at, (
            "fenced although no other claim was made"
        )
        self.is_running = False
        assert self.reclaim_arrives(self.claim) is None, "a fenced holder reclaimed the generation"

    def check_end_is_kept(self) -> None:
        """Start again if Redis has lost the end that this holder appended."""
        if self.has_ended and field(self.redis_model.redis, self.generation, "done") is None:
            self.has_ended, self.is_running = False, True
            self._lose()

    def renew(self) -> None:
        (renewal,) = renew_all(self.redis_model.redis, [self.claim], SETTINGS)
        assert isinstance(renewal, Renewal), renewal
        if renewal.cancelled_by is not None and self.outcome is None:
            self.end(Cancelled(renewal.cancelled_by, Usage(exact=False)))
        if renewal.verdict == "lost":
            self._lose()
        elif renewal.verdict != "held" and not self.must_reclaim:
            self._stop()

    def reclaim(self, fate: Fate) -> None:
        if fate is Fate.REQUEST_LOST:
            return
        losses = self.redis_model.losses
        again = self.reclaim_arrives(self.claim)
        if fate is Fate.REPLY_LOST:
            return
        if again is None:
            self.is_running = False
            return
        self.claim, self.losses, self.must_reclaim = again.claim, losses, False
        repeated = [self.snapshot(), *(event for event in self.ending if event in self.acknowledged)]
        rest = [*repeated, *(event for _, event in self.queue if event not in repeated)]
        if again.has_outcome:
            rest = [event for event in rest if isinstance(event, Title | Done)]
        self.queue.clear()
        self.next_seq = again.top.seq + 1
        for event in rest:
            self.write(event)

    def reclaim_arrives(self, held: Claim) -> Reclaimed | None:
        """Deliver a reclaim to Redis, possibly so late that this holder has another claim by then."""
        changed_at = self.redis_model.changed_at.get(self.generation, 0)
        again = reclaim(self.redis_model.redis, self.holding, held, SETTINGS)
        if again is not None and again.claim.token != self.claim.token:
            assert changed_at <= self.claimed_at, "reclaimed although another holder claimed it in between"
            now = self.redis_model.mark(self.generation)
            self.claimed_at = now if held == self.claim else self.claimed_at  # otherwise it has no holder until a sweep
        return again

    def snapshot(self) -> Snapshot:
        """Return a snapshot of the acknowledged text."""
        texts = [event.content for event in self.acknowledged if isinstance(event, Chunk)]
        return Snapshot("".join(texts), "", [], [], "lost")

    def release(self) -> None:
        self.is_running = False
        if release(Streams(self.redis_model.redis), self.claim, SETTINGS):
            self.redis_model.mark(self.generation)


def deliver(redis_model: RedisModel, appends: list[Append]) -> list[AppendResult]:
    """Deliver appends to Redis and check the answers against the current holder of the generation."""
    generation, token = appends[0].claim.generation, appends[0].claim.token
    is_holder = redis_model.holder(generation) == token
    answers = append_all(redis_model.redis, appends, LOG_TTL_MS)
    assert all(isinstance(answer, AppendResult) for answer in answers), answers
    results = cast("list[AppendResult]", answers)
    assert is_holder or not [each for each in results if each.verdict is Verdict.APPENDED], (
        "an append succeeded without the claim"
    )
    return results
