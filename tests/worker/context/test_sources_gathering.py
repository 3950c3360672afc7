"""Sources run at once, each within its own time limit; a failure is logged and counted, and stops nothing."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import gevent
import pytest
from gevent.event import Event
from structlog.contextvars import bound_contextvars

from millrace.worker.context.source import NO_CONTEXT, ContextPart, ContextQuestion, GatheredContext
from millrace.worker.context.sources import gather
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.interrupt import CancelRequested
from tests.worker.harness import wait_until

QUESTION = ContextQuestion(
    "g" * 32, "owner", "c" * 32, "m" * 32, ModelRequest([PromptMessage("user", "the secret question")], "m", 1)
)
PART = ContextPart(instructions="Be brief.")


@dataclass
class FunctionSource:
    """A source that calls a function."""

    name: str
    function: Callable[[], ContextPart | None]
    seconds: float = 5.0

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        assert question is QUESTION
        return self.function()


def fails() -> ContextPart:
    raise ValueError(QUESTION.text)


def exits() -> ContextPart:
    raise SystemExit(QUESTION.text)


def hangs() -> ContextPart:
    gevent.sleep(60)
    return PART


def hangs_until_killed(ended: list[bool]) -> ContextPart:
    """Hang, and note the end."""
    try:
        return hangs()
    finally:
        ended.append(True)


def swallows() -> ContextPart:
    """Swallow the first exception that interrupts it."""
    try:
        gevent.sleep(60)
    except BaseException:  # noqa: BLE001 - swallowing it is the purpose of this source
        gevent.sleep(60)
    return PART


def test_without_sources_there_is_no_context() -> None:
    assert gather([], QUESTION) == NO_CONTEXT


def test_parts_are_in_the_order_of_the_sources_by_name() -> None:
    def late() -> ContextPart:
        gevent.sleep(0.01)
        return PART

    gathered = gather(
        [FunctionSource("late", late), FunctionSource("none", lambda: None), FunctionSource("early", lambda: PART)],
        QUESTION,
    )
    assert gathered == GatheredContext({"late": PART, "early": PART})
    assert list(gathered.parts) == ["late", "early"]


def test_line_of_a_source_has_the_id_of_its_request(caplog: pytest.LogCaptureFixture) -> None:
    with bound_contextvars(request_id="r1"):
        gather([FunctionSource("bad", fails)], QUESTION)
    assert "request_id=r1" in caplog.text


def test_sources_run_concurrently() -> None:
    met = Event()

    def waits() -> ContextPart:
        assert met.wait(30)
        return PART

    def sets() -> ContextPart:
        met.set()
        return PART

    assert len(gather([FunctionSource("waits", waits), FunctionSource("sets", sets)], QUESTION).parts) == 2


@pytest.mark.parametrize(
    ("failing", "logged"),
    [
        (FunctionSource("bad", fails), "error=ValueError at "),
        (FunctionSource("bad", exits), "error=SystemExit at "),
        (FunctionSource("bad", hangs, seconds=0.05), "error=timed out"),
        (FunctionSource("bad", swallows, seconds=0.05), "context_source_abandoned"),
    ],
    ids=["fails", "exits", "hangs", "swallows its timeout"],
)
def test_a_failure_is_counted_and_logged_without_the_text_of_the_question(
    failing: FunctionSource, logged: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        gathered = gather([failing, FunctionSource("good", lambda: PART)], QUESTION)
    assert gathered == GatheredContext({"good": PART}, failed=1)
    (line,) = [record.getMessage() for record in caplog.records]
    assert "source=bad" in line
    assert f"generation={QUESTION.generation}" in line
    assert logged in line
    assert "secret" not in caplog.text


def test_an_interrupt_of_the_caller_ends_all_sources() -> None:
    ended: list[bool] = []
    runs = partial(hangs_until_killed, ended)
    caller = gevent.spawn(gather, [FunctionSource("one", runs), FunctionSource("two", runs)], QUESTION)
    gevent.sleep(0.01)
    caller.kill()
    wait_until(lambda: len(ended) == 2, "the end of both")


def test_the_stored_part_comes_first_and_runs_in_the_callers_greenlet() -> None:
    greenlets: list[object] = []

    def notes() -> ContextPart:
        greenlets.append(gevent.getcurrent())
        return PART

    gathered = gather([FunctionSource("other", notes)], QUESTION, FunctionSource("stored", notes))
    assert list(gathered.parts) == ["stored", "other"]
    assert gevent.getcurrent() in greenlets
    assert len(set(greenlets)) == 2


def test_a_failure_of_the_stored_part_is_counted_and_logged_like_others(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        gathered = gather([FunctionSource("good", lambda: PART)], QUESTION, FunctionSource("stored", fails))
    assert gathered == GatheredContext({"good": PART}, failed=1)
    assert "source=stored" in caplog.text
    assert "error=ValueError at " in caplog.text
    assert "secret" not in caplog.text


def test_an_interrupt_passes_the_stored_part_and_ends_the_other_sources() -> None:
    ended: list[bool] = []
    runs = partial(hangs_until_killed, ended)

    def is_interrupted() -> ContextPart:
        gevent.sleep(0.01)
        raise CancelRequested("user")

    with pytest.raises(CancelRequested):
        gather([FunctionSource("other", runs)], QUESTION, FunctionSource("stored", is_interrupted))
    wait_until(lambda: ended == [True], "the end of the other source")
