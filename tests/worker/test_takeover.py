"""A later attempt continues from the text so far, or starts again, and counts as one answer."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    Error,
    Reasoning,
    Snapshot,
    StatusEvent,
    ToolUse,
    Usage,
    encode,
    kind_of,
)
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.lease import ClaimedGeneration, claim, release
from millrace.worker.contract.log import Append, AppendResult, Verdict, append_all
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ErrorCode, GenerationFailed, ProviderError
from millrace.worker.generation import generate
from millrace.worker.interrupt import CancelRequested
from millrace.worker.providers import retry
from millrace.worker.providers.protocol import Stopped
from millrace.worker.providers.stub import Step
from millrace.worker.takeover import EMPTY_SNAPSHOT, starting_snapshot
from tests.valkey import ValkeyProcess
from tests.worker.conftest import MakeWorker
from tests.worker.harness import InProcessWorker, WorkerHarness, wait_until

END = (Stopped("end_turn"), Usage(3, 4))
REJECTED = ProviderError("provider_rejected", retryable=False)
TIMED_OUT = ProviderError("provider_timeout", retryable=True)
THROTTLED = ProviderError("provider_throttled", retryable=True, is_transient=True)
WAIT_FOREVER = Event().wait
QUESTION = PromptMessage("user", "Why?")
MakeSuccessor = Callable[..., "Successor"]


@dataclass
class Successor:
    """A worker that takes over generations from an earlier attempt."""

    worker: InProcessWorker

    @property
    def harness(self) -> WorkerHarness:
        return self.worker.harness

    def inherit(self, *events: AnyEvent) -> str:
        """Return a generation whose first attempt has appended these events and then released its lease."""
        generation = self.harness.create_generation(QUESTION.content)
        first = claim(Streams(self.harness.redis), generation, self.harness.settings)
        assert first is not None
        seq = first.top.seq
        appends = [Append(first.claim, seq + n, kind_of(each), encode(each)) for n, each in enumerate(events, 1)]
        for result in append_all(self.harness.redis, appends, 1000):
            assert isinstance(result, AppendResult)
            assert result.verdict is Verdict.APPENDED
        assert release(Streams(self.harness.redis), first.claim, self.harness.settings)
        return generation

    def claim_inherited(self, *events: AnyEvent) -> ClaimedGeneration:
        """Inherit a generation and claim it, without running it."""
        claimed = claim(Streams(self.harness.redis), self.inherit(*events), self.harness.settings)
        assert claimed is not None
        return claimed

    def answer(self, *events: AnyEvent) -> list[AnyEvent]:
        """Inherit a generation, run it to its end, and return the events that this worker has added."""
        generation = self.inherit(*events)
        return self.worker.answer(generation)[1 + len(events) :]

    @property
    def prefills(self) -> list[str | None]:
        """The text that each model call was given to continue; None for a call without one."""
        for prompt in self.worker.stub.prompts:
            assert prompt.messages[0] == QUESTION
            assert [each.role for each in prompt.messages[1:]] in ([], ["assistant"])
        return [prompt.messages[1].content if prompt.messages[1:] else None for prompt in self.worker.stub.prompts]


@pytest.fixture
def make_successor(make_worker: MakeWorker, monkeypatch: pytest.MonkeyPatch) -> MakeSuccessor:
    monkeypatch.setattr(retry, "BASE_SECONDS", 0.01)

    def make(*scripts: Sequence[Step], takeover: str = "continue", **settings: object) -> Successor:
        return Successor(make_worker(*scripts, takeover=takeover, **settings))

    return make


def chunks_of(events: list[AnyEvent]) -> list[str]:
    return [event.content for event in events if isinstance(event, Chunk)]


def test_the_model_continues_from_the_text_so_far(make_successor: MakeSuccessor) -> None:
    successor = make_successor([Chunk(" no"), Chunk(" wind."), *END])
    snapshot, running, *rest = successor.answer(Reasoning("Hm."), Citation("T"), Chunk("There is"), Chunk(" \n"))
    assert isinstance(snapshot, Snapshot)
    assert (snapshot.content, snapshot.reasoning, snapshot.reason) == ("There is", "Hm.", "takeover")
    assert [each["title"] for each in snapshot.citations] == ["T"]
    model = successor.harness.settings.default_model
    assert running == StatusEvent("running", attempt=2, model=model, provider="bedrock", requested_model=model)
    assert "".join(chunks_of(rest)) == " no wind."
    assert isinstance(rest[-2], Complete)
    assert successor.prefills == ["There is"]


def test_with_restart_the_answer_starts_again(make_successor: MakeSuccessor) -> None:
    successor = make_successor([Chunk("All."), *END], takeover="restart")
    assert successor.answer(Chunk("half"))[0] == EMPTY_SNAPSHOT
    assert successor.prefills == [None]


@pytest.mark.parametrize(
    "inherited",
    [
        [],
        [Reasoning("Hm.")],
        [Chunk(" \n")],
        [ToolUse("1", "look", {}), Chunk("half")],
        [Chunk("half"), EMPTY_SNAPSHOT],
    ],
    ids=["nothing", "reasoning alone", "blank", "a tool call", "an empty snapshot"],
)
def test_an_answer_that_cannot_be_continued_starts_again(
    make_successor: MakeSuccessor, inherited: list[AnyEvent]
) -> None:
    successor = make_successor([Chunk("All."), *END])
    added = successor.answer(*inherited)
    assert added[0] == EMPTY_SNAPSHOT
    assert chunks_of(added) == ["All."]
    assert successor.prefills == [None]


@pytest.mark.parametrize("inherited", ["so \ud83d", "so\ud83d\ud83d ", "so\u2003\n"])
def test_half_a_surrogate_pair_at_the_end_is_left_to_the_model(make_successor: MakeSuccessor, inherited: str) -> None:
    successor = make_successor([Chunk(" \U0001f600"), *END])
    added = successor.answer(Chunk(inherited))
    assert isinstance(added[0], Snapshot)
    assert added[0].content == "so"
    assert successor.prefills == ["so"]


def test_a_continued_text_that_needs_no_more_is_a_complete_answer(make_successor: MakeSuccessor) -> None:
    outcome = make_successor(END).answer(Chunk("All."))[-2]
    assert isinstance(outcome, Complete)
    assert outcome.usage == Usage(3, 4)


@pytest.mark.parametrize("code", ["provider_rejected", "context_too_long"])
def test_a_rejected_prefill_is_asked_again_from_nothing_without_an_error(
    make_successor: MakeSuccessor, code: ErrorCode
) -> None:
    successor = make_successor([ProviderError(code, retryable=False)], [Chunk("All."), *END])
    added = successor.answer(Chunk("half"))
    assert isinstance(added[0], Snapshot)
    assert added[0].content == "half"
    assert [type(each).__name__ for each in added[1:]] == ["StatusEvent", "Snapshot", "Chunk", "Complete", "Done"]
    assert added[2] == EMPTY_SNAPSHOT
    assert successor.prefills == ["half", None]


@pytest.mark.parametrize(
    ("inherited", "failure", "prefills"),
    [("half", REJECTED, ["half", None]), ("", REJECTED, [None]), ("half", TIMED_OUT, ["half"])],
    ids=["the question is rejected", "there was no text to continue", "another failure"],
)
def test_a_failure_that_is_not_due_to_the_prefill_ends_the_answer(
    make_successor: MakeSuccessor, inherited: str, failure: GenerationFailed, prefills: list[str | None]
) -> None:
    successor = make_successor([failure])
    outcome = successor.answer(Chunk(inherited))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == failure.code
    assert successor.prefills == prefills


def test_a_rejection_after_the_first_delta_ends_the_answer(make_successor: MakeSuccessor) -> None:
    successor = make_successor([Chunk(" and"), REJECTED])
    added = successor.answer(Chunk("half"))
    assert isinstance(added[-2], Error)
    assert chunks_of(added) == [" and"]
    assert successor.prefills == ["half"]


def test_a_throttled_call_is_retried_with_the_same_prefill(make_successor: MakeSuccessor) -> None:
    successor = make_successor([THROTTLED], [Chunk(" and half"), *END])
    assert isinstance(successor.answer(Chunk("half"))[-2], Complete)
    assert successor.prefills == ["half", "half"]


def test_an_empty_answer_after_a_rejected_prefill_is_an_error(make_successor: MakeSuccessor) -> None:
    outcome = make_successor([REJECTED], END).answer(Chunk("half"))[-2]
    assert isinstance(outcome, Error)
    assert outcome.code == "empty_answer"


def test_the_size_limit_includes_the_text_so_far(make_successor: MakeSuccessor) -> None:
    successor = make_successor([Chunk("b" * 300), Chunk("c" * 300), *END], max_output_bytes=1024)
    added = successor.answer(Reasoning("r" * 300), Chunk("a" * 300))
    assert isinstance(added[-2], Error)
    assert added[-2].code == "limit_exceeded"
    assert chunks_of(added) == ["b" * 300]


def test_the_size_limit_starts_at_zero_when_the_answer_starts_again(make_successor: MakeSuccessor) -> None:
    successor = make_successor([REJECTED], [Chunk("b" * 1000), *END], max_output_bytes=1024)
    assert isinstance(successor.answer(Chunk("a" * 1000))[-2], Complete)


def test_after_a_cancel_the_usage_estimate_counts_the_prefill_as_input(make_successor: MakeSuccessor) -> None:
    successor = make_successor([Chunk("12345678"), WAIT_FOREVER])
    generation = successor.inherit(Chunk("a" * 40))
    running = gevent.spawn(generate, successor.worker.process, generation)
    wait_until(lambda: successor.harness.text(generation).endswith("8"), "the rest")
    successor.harness.cancel(generation)
    running.get(timeout=30)
    outcome = successor.harness.wait_for_end(generation)[-2]
    assert isinstance(outcome, Cancelled)
    assert outcome.usage == Usage(input_tokens=11, output_tokens=2, exact=False)
    assert successor.harness.text(generation) == "a" * 40 + "12345678"


def test_the_takeover_waits_for_an_unavailable_redis_and_loses_no_text(
    make_successor: MakeSuccessor, valkey: ValkeyProcess
) -> None:
    successor = make_successor([])
    claimed = successor.claim_inherited(Chunk("half"))
    valkey.stop()
    reading = gevent.spawn(
        lambda: starting_snapshot(successor.worker.process, successor.worker.process.register(claimed))
    )
    reading.join(0.5)
    assert not reading.dead
    valkey.start()
    assert reading.get(timeout=30) == Snapshot("half", "", [], [], "takeover")


def test_a_cancel_does_not_wait_for_an_unavailable_redis(make_successor: MakeSuccessor, valkey: ValkeyProcess) -> None:
    successor = make_successor([])
    claimed = successor.claim_inherited(Chunk("half"))
    valkey.stop()

    def cancelled() -> Snapshot | None:
        run = successor.worker.process.register(claimed)
        run.interrupt.trigger(CancelRequested("user"))
        return starting_snapshot(successor.worker.process, run)

    assert gevent.spawn(cancelled).get(timeout=30) == EMPTY_SNAPSHOT


@pytest.mark.parametrize("event", [b'{"type":"wave"}', b'{"type":"wave","content":{"of":["a","newer"]}}'])
def test_an_event_that_only_a_newer_version_knows_is_skipped_at_takeover(
    make_successor: MakeSuccessor, event: bytes
) -> None:
    successor = make_successor([])
    claimed = successor.claim_inherited(Chunk("half"))
    log = keys_of(claimed.claim.generation).log
    successor.harness.redis.xadd(log, {"d": event}, f"{claimed.claim.epoch}-9")
    found = starting_snapshot(successor.worker.process, successor.worker.process.register(claimed))
    assert found is not None
    assert found.content == "half"


def test_an_answer_whose_log_holds_an_unreadable_event_starts_again(make_successor: MakeSuccessor) -> None:
    successor = make_successor([])
    claimed = successor.claim_inherited(Chunk("half"))
    log = keys_of(claimed.claim.generation).log
    successor.harness.redis.xadd(log, {"d": b'{"type":"chunk","content":1}'}, f"{claimed.claim.epoch}-9")
    assert starting_snapshot(successor.worker.process, successor.worker.process.register(claimed)) == EMPTY_SNAPSHOT
