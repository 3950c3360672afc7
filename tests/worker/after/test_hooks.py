"""What comes between the outcome and `done`, and that nothing there holds `done` up."""

import time
from collections.abc import Callable, Mapping
from typing import cast

import gevent
import pytest
from gevent.event import Event

from millrace.worker.contract.events import AnyEvent, Cancelled, Chunk, Complete, Done, Error, Suggestions, Title, Usage
from millrace.worker.contract.keys import keys_of
from millrace.worker.errors import GenerationFailed
from millrace.worker.generation import generate
from millrace.worker.providers.protocol import Prompt, Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply, Step
from tests.worker.after.conftest import ANSWER, REPLIES, SUGGESTIONS, TITLE, Hire, Hired, told
from tests.worker.desk import wait_until

NAMED = Title("Mills")
SUGGESTED = Suggestions(["Who built it?", "When?", "Why there?"])


def hang(_: Prompt) -> WholeAnswer:
    Event().wait()
    raise AssertionError("nobody sets this event")


def after_the_outcome(events: list[AnyEvent]) -> list[AnyEvent]:
    (at,) = [number for number, event in enumerate(events) if isinstance(event, Complete | Cancelled | Error)]
    return events[at + 1 :]


def test_title_and_suggestions_come_between_the_outcome_and_done(hire: Hire) -> None:
    *followed, done = after_the_outcome(hire().answer())
    assert done == Done("completed")
    assert sorted(followed, key=lambda event: type(event).__name__) == [SUGGESTED, NAMED]


def test_both_are_asked_at_the_same_time(hire: Hire) -> None:
    met: list[str] = []

    def meet(prompt: Prompt) -> WholeAnswer:
        assert prompt.tool is not None
        met.append(prompt.tool.name)
        wait_until(lambda: len(met) == 2, "the other one", 2)
        reply = REPLIES[prompt.tool.name]
        assert isinstance(reply, WholeAnswer)
        return reply

    followed = after_the_outcome(hire(dict.fromkeys(REPLIES, meet)).answer())
    assert NAMED in followed
    assert SUGGESTED in followed


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"titles": 0}, [SUGGESTED]),
        ({"suggestions": 0}, [NAMED]),
        ({"titles": 0, "suggestions": 0}, []),
    ],
)
def test_each_can_be_switched_off(hire: Hire, settings: dict[str, int], expected: list[AnyEvent]) -> None:
    hired = hire(**settings)
    assert after_the_outcome(hired.answer()) == [*expected, Done("completed")]
    assert len(hired.stub.questions) == len(expected)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ((Chunk("half"),), "failed"),
        ((Chunk("No"), Stopped("content_filtered")), "failed"),
        ((Chunk(" \n"), Stopped("end_turn"), Usage(1, 1)), "completed"),
    ],
)
def test_nothing_follows_what_is_no_whole_answer_in_words(hire: Hire, script: tuple[Step, ...], status: str) -> None:
    hired = hire(script=script)
    assert after_the_outcome(hired.answer()) == [Done(status)]  # pyright: ignore[reportArgumentType]
    assert hired.stub.questions == []


def refuse(_: Prompt) -> WholeAnswer:
    raise RuntimeError("by accident")


@pytest.mark.parametrize("bad", [hang, refuse, GenerationFailed("provider_throttled", retryable=True), told(other=1)])
@pytest.mark.parametrize(
    ("name", "other", "event"),
    [("name_conversation", "suggest_questions", SUGGESTED), ("suggest_questions", "name_conversation", NAMED)],
)
def test_one_that_raises_or_hangs_stops_neither_done_nor_the_other(
    hire: Hire, bad: Reply, name: str, other: str, event: AnyEvent
) -> None:
    hired = hire({name: bad, other: REPLIES[other]}, after_seconds=0.3)
    with gevent.Timeout(30):
        assert after_the_outcome(hired.answer()) == [event, Done("completed")]


def test_who_hangs_is_cut_off_at_the_cap_and_says_nothing_later(hire: Hire) -> None:
    released = Event()
    cut = Event()

    def late(_: Prompt) -> WholeAnswer:
        try:
            released.wait()
        finally:
            cut.set()
        return TITLE

    hired = hire({"name_conversation": late, "suggest_questions": SUGGESTIONS}, after_seconds=0.2)
    events = hired.answer()
    assert cut.wait(30)
    released.set()
    assert after_the_outcome(events) == [SUGGESTED, Done("completed")]
    assert hired.desk.events(last(hired)) == events


def last(hired: Hired) -> str:
    (key,) = cast("list[bytes]", hired.desk.redis.keys("*:state"))
    return key.decode().split(":")[2]


@pytest.mark.parametrize(
    ("bad", "word"),
    [
        (hang, "hook_cut_off"),
        (refuse, "hook_failed"),
        (GenerationFailed("provider_throttled", retryable=True), "hook_failed"),
    ],
)
def test_what_went_wrong_is_in_the_log_and_no_word_of_the_turn(
    hire: Hire, caplog: pytest.LogCaptureFixture, bad: Reply, word: str
) -> None:
    hire({"name_conversation": bad}, suggestions=0, after_seconds=0.2).answer()
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hook_")]
    assert line.startswith(f"{word} hook=title generation=")
    messages = " ".join(record.getMessage() for record in caplog.records)
    assert "mill" not in messages
    assert "grain" not in messages


def test_what_is_ready_is_told_before_the_rest(hire: Hire) -> None:
    go_on = Event()

    def later(_: Prompt) -> WholeAnswer:
        go_on.wait()
        return SUGGESTIONS

    hired = hire({"name_conversation": TITLE, "suggest_questions": later}, after_seconds=30)
    generation = hired.make("What is a mill?")
    answering = gevent.spawn(generate, hired.process, generation)
    wait_until(lambda: hired.desk.events(generation)[-1] == NAMED, "the title, alone")
    go_on.set()
    answering.get(timeout=30)
    assert after_the_outcome(hired.desk.events(generation)) == [NAMED, SUGGESTED, Done("completed")]


def leave(hired: Hired, _: str) -> None:
    hired.process.leave()


def watch_no_more(hired: Hired, generation: str) -> None:
    hired.desk.redis.hset(keys_of(generation).state, "cancel", "abandoned")


def let_time_run_out(hired: Hired, _: str) -> None:
    (run,) = hired.process.runs
    run.ends_by = time.monotonic()


@pytest.mark.parametrize("why", [leave, watch_no_more, let_time_run_out])
def test_what_interrupts_it_brings_done_at_once(hire: Hire, why: Callable[[Hired, str], None]) -> None:
    hired = hire(dict.fromkeys(REPLIES, hang), after_seconds=60)
    generation = hired.make("What is a mill?")
    answering = gevent.spawn(generate, hired.process, generation)
    wait_until(lambda: len(hired.stub.questions) == 2, "both to hang")
    why(hired, generation)
    answering.get(timeout=30)
    assert after_the_outcome(hired.desk.events(generation)) == [Done("completed")]
    assert hired.desk.transcript(generation).content == "It grinds grain."


def test_a_cancel_that_comes_then_is_over_and_stops_nothing(hire: Hire) -> None:
    hired = hire(dict.fromkeys(REPLIES, hang), after_seconds=1)
    generation = hired.make("What is a mill?")
    answering = gevent.spawn(generate, hired.process, generation)
    wait_until(lambda: len(hired.stub.questions) == 2, "both to hang")
    hired.desk.cancel(generation)
    answering.get(timeout=30)
    events = hired.desk.ended(generation)
    assert isinstance(events[-2], Complete)


def test_who_has_lost_the_generation_says_nothing_more(hire: Hire) -> None:
    hired = hire(dict.fromkeys(REPLIES, hang), after_seconds=60)
    generation = hired.make("What is a mill?")
    answering = gevent.spawn(generate, hired.process, generation)
    wait_until(lambda: len(hired.stub.questions) == 2, "both to hang")
    hired.desk.redis.hset(keys_of(generation).state, mapping={"token": "another", "epoch": 1 << 40})
    answering.get(timeout=30)
    assert isinstance(hired.desk.events(generation)[-1], Complete)


def test_what_redis_loses_meanwhile_is_told_again_with_no_second_call(hire: Hire) -> None:
    go_on = Event()

    def later(prompt: Prompt) -> WholeAnswer:
        go_on.wait()
        reply: Mapping[str, WholeAnswer] = {"name_conversation": TITLE, "suggest_questions": SUGGESTIONS}
        assert prompt.tool is not None
        return reply[prompt.tool.name]

    hired = hire(dict.fromkeys(REPLIES, later), after_seconds=30, lease_seconds=1)
    generation = hired.make("What is a mill?")
    answering = gevent.spawn(generate, hired.process, generation)
    wait_until(lambda: len(hired.stub.questions) == 2, "both to wait")
    hired.desk.redis.flushall()
    wait_until(lambda: [e for e in hired.desk.events(generation)[-1:] if isinstance(e, Complete)], "the outcome, anew")
    go_on.set()
    answering.get(timeout=10)
    assert hired.desk.text(generation) == "It grinds grain."
    *followed, done = after_the_outcome(hired.desk.events(generation))
    assert done == Done("completed")
    assert NAMED in followed
    assert SUGGESTED in followed
    assert len(hired.stub.prompts) == 1


def test_the_outcome_is_in_the_log_before_anything_is_asked(hire: Hire) -> None:
    seen: list[AnyEvent] = []

    def look(_: Prompt) -> WholeAnswer:
        seen.append(hired.desk.events(last(hired))[-1])
        return TITLE

    hired = hire({"name_conversation": look}, suggestions=0)
    hired.answer()
    assert [type(event) for event in seen] == [Complete]


def test_what_is_asked_is_the_small_models(hire: Hire) -> None:
    hired = hire(small_model_id="a-small-model", script=ANSWER)
    hired.answer()
    assert {prompt.model for prompt in hired.asked().values()} == {"a-small-model"}
    assert {prompt.model for prompt in hired.stub.prompts} == {hired.desk.settings.models.model_id}
