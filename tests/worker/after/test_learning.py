"""Learning: once per complete answer, with retries, and enqueued again by a process that stops."""

from collections.abc import Callable

import gevent
import pytest
from gevent.event import Event

from millrace.worker.after import learning
from millrace.worker.after.learning import Learner
from millrace.worker.contract.events import Cancelled, Error, Outcome, Usage
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import learning_key
from millrace.worker.errors import GenerationFailed, ProviderError
from millrace.worker.providers.protocol import Prompt, WholeAnswer
from millrace.worker.providers.stub import Reply
from millrace.worker.store import answers, conversations, memories
from tests.worker.after.harness import COMPLETE, FACTS, HookHarness, MakeHarness, tool_reply
from tests.worker.harness import wait_until

THROTTLED = ProviderError("provider_throttled", retryable=True)

MakeLearning = Callable[..., HookHarness]


@pytest.fixture(autouse=True)
def _short_backoff(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "FIRST_BACKOFF_SECONDS", 0.01)


@pytest.fixture
def make_learning(make_harness: MakeHarness) -> MakeLearning:
    """A harness whose learner runs, and whose small model gives one reply to every request for facts."""

    def make(reply: Reply = FACTS) -> HookHarness:
        harness = make_harness({"remember_facts": reply}, titles=0, suggestions=0, learning=1)
        harness.start_learning()
        return harness

    return make


def test_facts_are_saved_with_their_origin(make_learning: MakeLearning) -> None:
    harness = make_learning()
    generation = harness.save_turn()
    harness.learn(generation)
    assert harness.memories() == ["The user is called Ann.", "The user lives in Leeds."]
    page = harness.database.run(lambda session: memories.page(session, "somebody", None, 10))
    assert {memory.generation for memory in page.items} == {generation}
    assert harness.memories("somebody else") == []
    (prompt,) = harness.stub.questions
    assert [message.content for message in prompt.messages[:2]] == ["I am Ann.", "Hello Ann."]


def test_known_facts_are_in_the_prompt_and_are_not_saved_twice(make_learning: MakeLearning) -> None:
    harness = make_learning(tool_reply(facts=["the user is called ANN!", "The user has a cat."]))
    harness.database.run(lambda session: memories.add(session, "somebody", "The user is called Ann."))
    harness.learn(harness.save_turn())
    assert harness.memories() == ["The user is called Ann.", "The user has a cat."]
    assert "The user is called Ann." in harness.stub.questions[0].system[0]


def test_generation_that_is_enqueued_many_times_is_learned_once(make_learning: MakeLearning) -> None:
    harness = make_learning()
    generation = harness.save_turn()
    other = Learner(harness.process)
    other.start()
    for learner in (harness.learner, other) * 10:
        learner.enqueue(generation)
    harness.wait_until_learned()
    wait_until(lambda: other.is_idle, "the other learner")
    other.stop()
    assert harness.calls() == 1
    assert len(harness.memories()) == 2


def test_generation_is_not_learned_again_when_its_marker_has_expired(make_learning: MakeLearning) -> None:
    harness = make_learning()
    generation = harness.save_turn()
    harness.learn(generation)
    harness.redis.delete(learning_key(generation))
    assert harness.database.run(lambda session: memories.delete_all(session, "somebody")) == 2
    harness.learn(generation)
    assert harness.memories() == []


@pytest.mark.parametrize(
    ("outcome", "content", "question"),
    [
        (Cancelled("user", Usage(1, 1)), "half", "I am Ann."),
        (Error("truncated", "It broke off.", retryable=True), "half", "I am Ann."),
        (COMPLETE, " \n", "I am Ann."),
        (COMPLETE, "Yes.", " "),
    ],
)
def test_only_a_complete_turn_with_text_is_learned_from(
    make_learning: MakeLearning, outcome: Outcome, content: str, question: str
) -> None:
    harness = make_learning()
    harness.learn(harness.save_turn(outcome, content, question))
    assert harness.calls() == 0
    assert harness.memories() == []


def test_retryable_failure_is_retried_and_facts_are_saved_once(make_learning: MakeLearning) -> None:
    replies: list[Reply] = [THROTTLED, tool_reply(facts="nonsense"), THROTTLED, FACTS]

    def reply(_: Prompt) -> WholeAnswer:
        one = replies.pop(0)
        if isinstance(one, GenerationFailed):
            raise one
        assert isinstance(one, WholeAnswer)
        return one

    harness = make_learning(reply)
    harness.learn(harness.save_turn())
    assert harness.calls() == 4
    assert len(harness.memories()) == 2


def test_failure_that_is_not_retryable_is_not_retried(make_learning: MakeLearning) -> None:
    harness = make_learning(ProviderError("provider_rejected", retryable=False))
    harness.learn(harness.save_turn())
    assert harness.calls() == 1


def test_unusable_reply_is_asked_for_once_more_only(make_learning: MakeLearning) -> None:
    harness = make_learning(tool_reply(facts="nothing"))
    harness.learn(harness.save_turn())
    assert harness.calls() == learning.MAX_REJECTIONS


def test_learning_fails_after_the_last_try_and_logs_no_text(
    make_learning: MakeLearning, caplog: pytest.LogCaptureFixture
) -> None:
    harness = make_learning(THROTTLED)
    generation = harness.save_turn()
    harness.learn(generation)
    assert harness.calls() == learning.MAX_TRIES
    assert f"learning_failed generation={generation}" in caplog.text
    assert "Ann" not in caplog.text


def test_call_that_hangs_times_out_and_is_retried(make_learning: MakeLearning, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(learning, "CALL_TIMEOUT_SECONDS", 0.05)
    calls: list[Prompt] = []

    def hang_once(prompt: Prompt) -> WholeAnswer:
        calls.append(prompt)
        if len(calls) == 1:
            Event().wait()
        return FACTS

    harness = make_learning(hang_once)
    harness.learn(harness.save_turn())
    assert len(calls) == 2
    assert len(harness.memories()) == 2


def test_answer_that_is_stored_late_is_learned_late(
    make_learning: MakeLearning, caplog: pytest.LogCaptureFixture
) -> None:
    harness = make_learning()
    generation = harness.worker.create_generation("I am Ann.")
    question = harness.save_question(generation, "I am Ann.")
    harness.learner.enqueue(generation)
    wait_until(lambda: "error=AnswerNotStored" in caplog.text, "a first try")
    harness.save_answer(generation, question)
    harness.wait_until_learned()
    assert len(harness.memories()) == 2


def test_conversation_that_is_deleted_during_the_call_leaves_no_memories(make_learning: MakeLearning) -> None:
    def delete_and_reply(_: Prompt) -> WholeAnswer:
        stored = harness.database.run(lambda session: answers.find_answer_of_generation(session, generation))
        assert stored is not None
        conversation = stored.question.conversation
        assert harness.database.run(lambda session: conversations.delete(session, "somebody", conversation))
        return FACTS

    harness = make_learning(delete_and_reply)
    generation = harness.save_turn()
    harness.learn(generation)
    assert harness.memories() == []


def test_learner_that_stops_enqueues_its_unfinished_generations_again(make_learning: MakeLearning) -> None:
    calls: list[Prompt] = []

    def hang(prompt: Prompt) -> WholeAnswer:
        calls.append(prompt)
        Event().wait()
        return FACTS

    harness = make_learning(hang)
    generations = [harness.save_turn() for _ in range(learning.CONCURRENCY + 3)]
    for generation in generations:
        harness.learner.enqueue(generation)
    wait_until(lambda: len(calls) == learning.CONCURRENCY, "all greenlets to be busy")
    harness.learner.stop()
    assert harness.queued_learning() == len(generations)
    successor = Learner(harness.process)
    harness.stub.replies = {"remember_facts": FACTS}
    successor.start()
    for generation in generations:
        successor.enqueue(generation)
    wait_until(lambda: successor.is_idle, "the successor")
    successor.stop()
    assert len(harness.memories()) == 2
    assert harness.calls() == learning.CONCURRENCY + len(generations)


def test_generation_beyond_the_queue_limit_is_dropped_and_logged(
    make_learning: MakeLearning, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(learning, "MAX_QUEUED", 1)
    harness = make_learning()
    harness.learner.stop()
    for _ in range(2):
        harness.learner.enqueue(new_id())
    assert caplog.text.count("learning_dropped") == 1


def test_backlog_larger_than_the_concurrency_is_learned_completely(make_learning: MakeLearning) -> None:
    harness = make_learning(lambda _: (gevent.sleep(0.01), FACTS)[1])
    for _ in range(40):
        harness.learner.enqueue(harness.save_turn())
    harness.wait_until_learned()
    assert harness.calls() == 40
    assert len(harness.memories()) == 2
