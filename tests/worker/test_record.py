"""What is kept of an answer."""

from millrace.worker.contract.events import Cancelled, Chunk, Complete, Latency, Reasoning, Suggestions, ToolUse, Usage
from millrace.worker.contract.ids import Cursor
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.transcript import fold
from millrace.worker.record import record

ASKED = ModelRequest([PromptMessage("user", "Why?")], "asked-model", 100)
NAMED = {"message": "m", "generation": "g"}
TOLD = fold([Reasoning("Hm."), Chunk("Because."), ToolUse("1", "look", {}), Suggestions(["And then?"])])


def test_a_whole_answer_is_kept_as_stored_with_who_gave_it() -> None:
    outcome = Complete("live", "end_turn", Usage(3, 4), Latency(1, 2), "a-model", "bedrock", "m", stored=False)
    answer = record(TOLD, outcome, Cursor(7, 9), ASKED, **NAMED, provider="asked-provider")
    assert (answer.content, answer.reasoning, answer.suggestions) == ("Because.", "Hm.", ("And then?",))
    assert answer.tools == ({"id": "1", "name": "look", "input": {}},)
    assert (answer.epoch, answer.last_event) == (7, Cursor(7, 9))
    assert isinstance(answer.outcome, Complete)
    assert answer.outcome.stored
    assert (answer.model, answer.provider) == ("a-model", "bedrock")


def test_one_that_is_not_whole_is_kept_with_whom_it_was_asked_of() -> None:
    cut = Cancelled("user", Usage())
    answer = record(TOLD, cut, Cursor(7, 9), ASKED, **NAMED, provider="asked-provider")
    assert (answer.outcome, answer.model, answer.provider) == (cut, "asked-model", "asked-provider")
