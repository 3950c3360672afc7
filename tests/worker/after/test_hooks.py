"""Hooks: their events between the outcome and `done`, their isolation from each other, and their time limit."""

import time
from collections.abc import Callable, Mapping
from typing import cast

import gevent
import pytest
from gevent.event import Event
from msgspec.structs import replace

from millrace.worker.contract.events import AnyEvent, Cancelled, Chunk, Complete, Done, Error, Suggestions, Title, Usage
from millrace.worker.contract.keys import keys_of
from millrace.worker.errors import ProviderError
from millrace.worker.generation import generate
from millrace.worker.providers.protocol import Prompt, Stopped, WholeAnswer
from millrace.worker.providers.stub import Reply, Step
from millrace.worker.store import answers
from tests.worker.after.harness import (
    ANSWER,
    FACTS,
    REPLIES,
    SUGGESTIONS,
    TITLE,
    HookHarness,
    MakeHarness,
    tool_reply,
)
from tests.worker.harness import wait_until

TITLE_EVENT = Title("Mills")
SUGGESTIONS_EVENT = Suggestions(["Who built it?", "When?", "Why there?"])
THROTTLED = ProviderError("provider_throttled", retryable=True)


def hang(_: Prompt) -> WholeAnswer:
    Event().wait()
    raise AssertionError("this event is never set")


def crash(_: Prompt) -> WholeAnswer:
    raise RuntimeError("a bug")


def after_the_outcome(events: list[AnyEvent]) -> list[AnyEvent]:
    """Return the events after the outcome; `done` without the usage of the calls that were made there."""
    (at,) = [number for number, event in enumerate(events) if isinstance(event, Complete | Cancelled | Error)]
    return [Done(event.status) if isinstance(event, Done) else event for event in events[at + 1 :]]


def only_generation(harness: HookHarness) -> str:
    (key,) = cast("list[bytes]", harness.redis.keys("*:state"))
    return key.decode().split(":")[2]


def start_answer(harness: HookHarness) -> tuple[str, "gevent.Greenlet[..., None]"]:
    """Start a generation, and return when both hooks wait for the model."""
    generation = harness.create_generation()
    greenlet = gevent.spawn(generate, harness.process, generation)
    wait_until(lambda: harness.calls() == 2, "both hooks to call the model")
    return generation, greenlet


def test_title_and_suggestions_are_appended_between_outcome_and_done(make_harness: MakeHarness) -> None:
    *events, done = after_the_outcome(make_harness().answer())
    assert done == Done("completed")
    assert sorted(events, key=lambda event: type(event).__name__) == [SUGGESTIONS_EVENT, TITLE_EVENT]


def test_done_carries_the_usage_of_the_calls_after_the_outcome_and_the_stored_answer_too(
    make_harness: MakeHarness,
) -> None:
    harness = make_harness()
    generation = harness.create_generation()
    generate(harness.process, generation)
    (complete,) = [event for event in harness.events(generation) if isinstance(event, Complete)]
    done = harness.events(generation)[-1]
    assert isinstance(done, Done)
    assert [call.purpose for call in complete.usage_by] == ["answer"]
    assert sorted(call.purpose for call in done.usage_by) == ["answer", "suggestions", "title"]
    assert done.usage_total is not None
    assert (done.usage_total.input_tokens, done.usage_total.output_tokens) == (5, 6)
    stored = harness.database.run(lambda session: answers.find_answer_of_generation(session, generation))
    assert stored is not None
    assert stored.answer.outcome == replace(complete, usage_by=done.usage_by, usage_total=done.usage_total)


def test_hooks_run_concurrently(make_harness: MakeHarness) -> None:
    called: list[str] = []

    def wait_for_the_other(prompt: Prompt) -> WholeAnswer:
        assert prompt.tool is not None
        called.append(prompt.tool.name)
        wait_until(lambda: len(called) == 2, "the other hook")
        reply = REPLIES[prompt.tool.name]
        assert isinstance(reply, WholeAnswer)
        return reply

    events = after_the_outcome(make_harness(dict.fromkeys(REPLIES, wait_for_the_other)).answer())
    assert TITLE_EVENT in events
    assert SUGGESTIONS_EVENT in events


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"titles": 0}, [SUGGESTIONS_EVENT]),
        ({"suggestions": 0}, [TITLE_EVENT]),
        ({"titles": 0, "suggestions": 0}, []),
    ],
)
def test_each_hook_has_a_setting_that_disables_it(
    make_harness: MakeHarness, settings: dict[str, int], expected: list[AnyEvent]
) -> None:
    harness = make_harness(**settings)
    assert after_the_outcome(harness.answer()) == [*expected, Done("completed")]
    assert harness.calls() == len(expected)


@pytest.mark.parametrize(
    ("script", "status"),
    [
        ((Chunk("half"),), "failed"),
        ((Chunk("No"), Stopped("content_filtered")), "failed"),
        ((Chunk(" \n"), Stopped("end_turn"), Usage(1, 1)), "failed"),
    ],
)
def test_hooks_run_only_after_a_complete_answer_with_text(
    make_harness: MakeHarness, script: tuple[Step, ...], status: str
) -> None:
    harness = make_harness(script=script)
    assert after_the_outcome(harness.answer()) == [Done(status)]  # pyright: ignore[reportArgumentType]
    assert harness.stub.questions == []


@pytest.mark.parametrize("bad", [hang, crash, THROTTLED, tool_reply(other=1)])
@pytest.mark.parametrize(
    ("name", "other", "event"),
    [
        ("name_conversation", "suggest_questions", SUGGESTIONS_EVENT),
        ("suggest_questions", "name_conversation", TITLE_EVENT),
    ],
)
def test_hook_that_fails_or_hangs_affects_neither_the_other_nor_done(
    make_harness: MakeHarness, bad: Reply, name: str, other: str, event: AnyEvent
) -> None:
    harness = make_harness({name: bad, other: REPLIES[other]}, after_seconds=0.3)
    with gevent.Timeout(30):
        assert after_the_outcome(harness.answer()) == [event, Done("completed")]


def test_hook_is_killed_at_the_time_limit_and_appends_nothing_later(make_harness: MakeHarness) -> None:
    released = Event()
    killed = Event()

    def reply_late(_: Prompt) -> WholeAnswer:
        try:
            released.wait()
        finally:
            killed.set()
        return TITLE

    harness = make_harness({"name_conversation": reply_late, "suggest_questions": SUGGESTIONS}, after_seconds=0.2)
    events = harness.answer()
    assert killed.wait(30)
    released.set()
    assert after_the_outcome(events) == [SUGGESTIONS_EVENT, Done("completed")]
    assert harness.events(only_generation(harness)) == events


@pytest.mark.parametrize(
    ("bad", "log_event"), [(hang, "hook_cut_off"), (crash, "hook_failed"), (THROTTLED, "hook_failed")]
)
def test_failure_of_a_hook_is_logged_without_the_text_of_the_turn(
    make_harness: MakeHarness, caplog: pytest.LogCaptureFixture, bad: Reply, log_event: str
) -> None:
    make_harness({"name_conversation": bad}, suggestions=0, after_seconds=0.2).answer()
    (line,) = [record.getMessage() for record in caplog.records if record.getMessage().startswith("hook_")]
    assert line.startswith(f"{log_event} hook=title generation=")
    assert " request_id=" in line
    messages = " ".join(record.getMessage() for record in caplog.records)
    assert "mill" not in messages
    assert "grain" not in messages


def test_event_of_a_finished_hook_does_not_wait_for_the_others(make_harness: MakeHarness) -> None:
    released = Event()

    def reply_late(_: Prompt) -> WholeAnswer:
        released.wait()
        return SUGGESTIONS

    harness = make_harness({"name_conversation": TITLE, "suggest_questions": reply_late}, after_seconds=30)
    generation = harness.create_generation()
    greenlet = gevent.spawn(generate, harness.process, generation)
    wait_until(lambda: harness.events(generation)[-1] == TITLE_EVENT, "the title alone")
    released.set()
    greenlet.get(timeout=30)
    assert after_the_outcome(harness.events(generation)) == [TITLE_EVENT, SUGGESTIONS_EVENT, Done("completed")]


def shut_down(harness: HookHarness, _: str) -> None:
    harness.process.drain()


def abandon(harness: HookHarness, generation: str) -> None:
    harness.redis.hset(keys_of(generation).state, "cancel", "abandoned")


def reach_the_deadline(harness: HookHarness, _: str) -> None:
    (run,) = harness.process.running
    run.deadline = time.monotonic()


@pytest.mark.parametrize("interrupt", [shut_down, abandon, reach_the_deadline])
def test_interrupt_during_the_hooks_appends_done_at_once(
    make_harness: MakeHarness, interrupt: Callable[[HookHarness, str], None]
) -> None:
    harness = make_harness(dict.fromkeys(REPLIES, hang), after_seconds=60)
    generation, greenlet = start_answer(harness)
    interrupt(harness, generation)
    greenlet.get(timeout=30)
    assert after_the_outcome(harness.events(generation)) == [Done("completed")]
    assert harness.text(generation) == "It grinds grain."


def test_cancel_during_the_hooks_does_not_change_the_outcome(make_harness: MakeHarness) -> None:
    harness = make_harness(dict.fromkeys(REPLIES, hang), after_seconds=1)
    generation, greenlet = start_answer(harness)
    harness.cancel(generation)
    greenlet.get(timeout=30)
    events = harness.wait_for_end(generation)
    assert isinstance(events[-2], Complete)


def test_worker_that_loses_its_claim_during_the_hooks_appends_nothing_more(make_harness: MakeHarness) -> None:
    harness = make_harness(dict.fromkeys(REPLIES, hang), after_seconds=60)
    generation, greenlet = start_answer(harness)
    harness.redis.hset(keys_of(generation).state, mapping={"token": "another", "epoch": 1 << 40})
    greenlet.get(timeout=30)
    assert isinstance(harness.events(generation)[-1], Complete)


def test_log_that_redis_loses_during_the_hooks_is_restored_without_a_second_model_call(
    make_harness: MakeHarness,
) -> None:
    released = Event()

    def reply_late(prompt: Prompt) -> WholeAnswer:
        released.wait()
        reply: Mapping[str, WholeAnswer] = {"name_conversation": TITLE, "suggest_questions": SUGGESTIONS}
        assert prompt.tool is not None
        return reply[prompt.tool.name]

    harness = make_harness(dict.fromkeys(REPLIES, reply_late), after_seconds=30, lease_seconds=1)
    generation, greenlet = start_answer(harness)
    harness.redis.flushall()
    wait_until(lambda: [e for e in harness.events(generation)[-1:] if isinstance(e, Complete)], "the restored outcome")
    released.set()
    greenlet.get(timeout=30)
    assert harness.text(generation) == "It grinds grain."
    *events, done = after_the_outcome(harness.events(generation))
    assert done == Done("completed")
    assert TITLE_EVENT in events
    assert SUGGESTIONS_EVENT in events
    assert len(harness.stub.prompts) == 1


def test_outcome_is_appended_before_the_first_hook_runs(make_harness: MakeHarness) -> None:
    last_events: list[AnyEvent] = []

    def read_log(_: Prompt) -> WholeAnswer:
        last_events.append(harness.events(only_generation(harness))[-1])
        return TITLE

    harness = make_harness({"name_conversation": read_log}, suggestions=0)
    harness.answer()
    assert [type(event) for event in last_events] == [Complete]


def test_hooks_call_the_small_model(make_harness: MakeHarness) -> None:
    harness = make_harness(small_model_id="a-small-model", script=ANSWER)
    harness.answer()
    assert {prompt.model for prompt in harness.small_prompts().values()} == {"a-small-model"}
    assert {prompt.model for prompt in harness.stub.prompts} == {harness.settings.default_model}


@pytest.mark.parametrize(("learning", "tasks"), [(1, 1), (0, 0)])
def test_learning_is_enqueued_after_done_if_enabled(make_harness: MakeHarness, learning: int, tasks: int) -> None:
    harness = make_harness({"remember_facts": FACTS}, titles=0, suggestions=0, learning=learning)
    generate(harness.process, harness.create_generation())
    assert harness.queued_learning() == tasks


def test_failed_generation_enqueues_no_learning(make_harness: MakeHarness) -> None:
    harness = make_harness(script=(Chunk("half"),), titles=0, suggestions=0, learning=1)
    generate(harness.process, harness.create_generation())
    assert harness.queued_learning() == 0
