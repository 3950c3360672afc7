"""Asking again stops at the first delta, at the last try, and at what would fail again anyway."""

import pytest

from millrace.worker.contract.events import Chunk
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Delta, Prompt, Stopped
from millrace.worker.providers.retry import MOST_SECONDS, backoff_seconds, stream_patiently
from millrace.worker.providers.stub import Stub

PROMPT = Prompt("model", (PromptMessage("user", "?"),), 10)
BUSY = GenerationFailed("provider_throttled", retryable=True, is_transient=True)
REFUSED = GenerationFailed("provider_rejected", retryable=False)
WHOLE = [Chunk("a"), Stopped("end_turn")]


class Patience:
    """What `stream_patiently` has said and waited on its way."""

    def __init__(self) -> None:
        self.retries: list[GenerationFailed] = []
        self.waits: list[float] = []

    def read(self, stub: Stub, tries: int = 3) -> list[Delta]:
        return list(stream_patiently(stub, PROMPT, tries, self.retries.append, self.waits.append))


@pytest.fixture
def patience() -> Patience:
    return Patience()


def test_it_asks_again_until_it_is_answered(patience: Patience) -> None:
    stub = Stub([[BUSY], [BUSY], WHOLE])
    assert patience.read(stub) == WHOLE
    assert patience.retries == [BUSY, BUSY]
    assert len(patience.waits) == 2
    assert stub.closed == 3


def test_it_asks_no_more_often_than_it_may(patience: Patience) -> None:
    stub = Stub([[BUSY]])
    with pytest.raises(GenerationFailed):
        patience.read(stub)
    assert len(stub.prompts) == 3
    assert len(patience.retries) == len(patience.waits) == 2


def test_it_never_asks_again_after_the_first_delta(patience: Patience) -> None:
    stub = Stub([[Chunk("a"), BUSY], WHOLE])
    with pytest.raises(GenerationFailed):
        patience.read(stub)
    assert len(stub.prompts) == 1
    assert patience.retries == []


def test_what_is_refused_is_not_asked_again(patience: Patience) -> None:
    stub = Stub([[REFUSED], WHOLE])
    with pytest.raises(GenerationFailed):
        patience.read(stub)
    assert len(stub.prompts) == 1


def test_closing_it_closes_the_stream() -> None:
    stub = Stub([WHOLE])
    deltas = stream_patiently(stub, PROMPT, 3, lambda _: None, lambda _: None)
    next(deltas)
    assert stub.closed == 0
    deltas.close()
    assert stub.closed == 1


def test_the_wait_grows_is_spread_and_bounded() -> None:
    for tries, most in ((1, 0.5), (2, 1.0), (3, 2.0), (30, MOST_SECONDS)):
        waits = [backoff_seconds(tries) for _ in range(200)]
        assert all(most / 2 <= wait <= most for wait in waits)
        assert max(waits) > min(waits)
