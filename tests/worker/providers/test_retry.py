"""Retries stop at the first delta, at the last try and at a failure that is not transient."""

import pytest

from millrace.worker.contract.events import Chunk, Reasoning
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed, ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.providers.retry import MAX_SECONDS, backoff_seconds, stream_with_retries
from millrace.worker.providers.stub import Stub

PROMPT = Prompt("model", (PromptMessage("user", "?"),), 10)
BUSY = ProviderError("provider_throttled", retryable=True, is_transient=True)
REFUSED = GenerationFailed("provider_rejected", retryable=False)
WHOLE = [Chunk("a"), Stopped("end_turn")]


class RetryRecorder:
    """Calls `stream_with_retries`, and records its retries and the pauses before them."""

    def __init__(self) -> None:
        self.retries: list[GenerationFailed] = []
        self.pauses: list[float] = []

    def read(self, stub: Stub, max_tries: int = 3) -> list[Delta]:
        return list(stream_with_retries(stub, PROMPT, max_tries, self.retries.append, self.pauses.append))


@pytest.fixture
def recorder() -> RetryRecorder:
    return RetryRecorder()


def test_transient_failures_are_retried_until_an_answer(recorder: RetryRecorder) -> None:
    stub = Stub([[BUSY], [BUSY], WHOLE])
    assert recorder.read(stub) == WHOLE
    assert recorder.retries == [BUSY, BUSY]
    assert len(recorder.pauses) == 2
    assert stub.closed == 3


def test_there_are_at_most_max_tries_calls(recorder: RetryRecorder) -> None:
    stub = Stub([[BUSY]])
    with pytest.raises(GenerationFailed):
        recorder.read(stub)
    assert len(stub.prompts) == 3
    assert len(recorder.retries) == len(recorder.pauses) == 2


def test_a_failure_after_the_first_delta_is_not_retried(recorder: RetryRecorder) -> None:
    stub = Stub([[Chunk("a"), BUSY], WHOLE])
    with pytest.raises(GenerationFailed):
        recorder.read(stub)
    assert len(stub.prompts) == 1
    assert recorder.retries == []


def test_an_empty_delta_is_no_beginning(recorder: RetryRecorder) -> None:
    stub = Stub([[Chunk(""), Reasoning(""), BUSY], WHOLE])
    assert recorder.read(stub) == WHOLE
    assert recorder.retries == [BUSY]


def test_a_failure_that_is_not_transient_is_not_retried(recorder: RetryRecorder) -> None:
    stub = Stub([[REFUSED], WHOLE])
    with pytest.raises(GenerationFailed):
        recorder.read(stub)
    assert len(stub.prompts) == 1


def test_closing_the_generator_closes_the_stream() -> None:
    stub = Stub([WHOLE])
    deltas = stream_with_retries(stub, PROMPT, 3, lambda _: None, lambda _: None)
    next(deltas)
    assert stub.closed == 0
    deltas.close()
    assert stub.closed == 1


def test_pauses_double_are_jittered_and_bounded() -> None:
    for tries, ceiling in ((1, 0.5), (2, 1.0), (3, 2.0), (30, MAX_SECONDS)):
        pauses = [backoff_seconds(tries) for _ in range(200)]
        assert all(ceiling / 2 <= pause <= ceiling for pause in pauses)
        assert max(pauses) > min(pauses)
