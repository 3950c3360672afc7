"""The types that sources receive and return."""

import pytest

from millrace.worker.context.source import NO_CONTEXT, ContextPart, ContextQuestion, GatheredContext, Material
from millrace.worker.contract.request import ModelRequest, PromptMessage

HISTORY = (PromptMessage("user", "One?"), PromptMessage("assistant", "Two."))


def make_question(*history: PromptMessage, question_id: str | None = "q") -> ContextQuestion:
    request = ModelRequest([*history, PromptMessage("user", "Why?")], "model", 100)
    return ContextQuestion("g", "owner", "c", "a", request, question_id)


@pytest.mark.parametrize("kind", ["", "a b", "a><b", "A", "a\n"])
def test_a_kind_that_cannot_name_an_element_is_rejected(kind: str) -> None:
    with pytest.raises(ValueError, match="the kind of a material"):
        Material(kind, "x")


def test_the_text_of_a_question_is_the_last_message() -> None:
    assert make_question(*HISTORY).text == "Why?"


def test_a_question_is_standalone_without_a_conversation_or_with_its_own_history() -> None:
    assert not make_question().is_standalone
    assert make_question(question_id=None).is_standalone
    assert make_question(*HISTORY).is_standalone


def test_gathered_context_joins_its_parts_and_takes_the_last_slots() -> None:
    pages = (Material("search_result", "a"), Material("memory", "b"))
    gathered = GatheredContext(
        {
            "history": ContextPart(history=HISTORY, slots={"to": "Oslo"}),
            "intent": ContextPart(slots={"to": "Lima"}),
            "memory": ContextPart(materials=pages[:1]),
            "search": ContextPart(materials=pages[1:]),
        }
    )
    assert gathered.history == HISTORY
    assert gathered.materials == pages
    assert gathered.slots == {"to": "Lima"}
    assert (NO_CONTEXT.history, NO_CONTEXT.materials, NO_CONTEXT.slots, NO_CONTEXT.failed) == ((), (), None, 0)
