"""Sources are asked at once, each within its own time; what fails is logged and counted, and stops nothing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

import gevent
import pytest
from gevent.event import Event

from millrace.worker.context.gathering import gather
from millrace.worker.context.source import NOTHING, ContextPart, ContextQuestion, Gathered
from millrace.worker.contract.request import ModelRequest, PromptMessage
from tests.worker.desk import wait_until

QUESTION = ContextQuestion(
    "g" * 32, "owner", "c" * 32, "m" * 32, ModelRequest([PromptMessage("user", "the secret question")], "m", 1)
)
PIECE = ContextPart(instructions="Be brief.")


@dataclass
class Scripted:
    """Does what it is told to."""

    name: str
    does: Callable[[], ContextPart | None]
    seconds: float = 5.0

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        assert question is QUESTION
        return self.does()


def raises() -> ContextPart:
    raise ValueError(QUESTION.text)


def never() -> ContextPart:
    gevent.sleep(60)
    return PIECE


def swallows() -> ContextPart:
    """Swallow whatever ends it, once."""
    try:
        gevent.sleep(60)
    except BaseException:  # noqa: BLE001 - this is what is tried here
        gevent.sleep(60)
    return PIECE


def test_no_sources_give_nothing() -> None:
    assert gather([], QUESTION) == NOTHING


def test_what_they_give_stands_under_their_names_in_their_order() -> None:
    def late() -> ContextPart:
        gevent.sleep(0.01)
        return PIECE

    given = gather([Scripted("late", late), Scripted("none", lambda: None), Scripted("early", lambda: PIECE)], QUESTION)
    assert given == Gathered({"late": PIECE, "early": PIECE})
    assert list(given.pieces) == ["late", "early"]


def test_they_are_asked_beside_each_other() -> None:
    met = Event()

    def waits() -> ContextPart:
        assert met.wait(30)
        return PIECE

    def comes() -> ContextPart:
        met.set()
        return PIECE

    assert len(gather([Scripted("waits", waits), Scripted("comes", comes)], QUESTION).pieces) == 2


@pytest.mark.parametrize(
    ("failing", "said"),
    [
        (Scripted("bad", raises), "error=ValueError at "),
        (Scripted("bad", never, seconds=0.05), "error=too slow"),
        (Scripted("bad", swallows, seconds=0.05), "context_source_stuck"),
    ],
    ids=["raises", "hangs", "swallows its end"],
)
def test_what_fails_is_counted_and_told_to_the_log_without_the_questions_words(
    failing: Scripted, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        given = gather([failing, Scripted("good", lambda: PIECE)], QUESTION)
    assert given == Gathered({"good": PIECE}, failed=1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "source=bad" in line
    assert f"generation={QUESTION.generation}" in line
    assert said in line
    assert "secret" not in caplog.text


def test_what_interrupts_the_asker_ends_all_sources() -> None:
    ended: list[bool] = []

    def runs() -> ContextPart:
        try:
            return never()
        finally:
            ended.append(True)

    asker = gevent.spawn(gather, [Scripted("one", runs), Scripted("two", runs)], QUESTION)
    gevent.sleep(0.01)
    asker.kill()
    wait_until(lambda: len(ended) == 2, "the end of both")
