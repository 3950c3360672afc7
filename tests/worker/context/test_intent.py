"""Intent: what a message is after, merged into what the conversation knows already."""

import json
import logging
from typing import Any

import pytest

from millrace.worker.context.intent import Intent
from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.source import ContextPart
from millrace.worker.contract.events import Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import DatabaseUnavailable, GenerationFailed, SettingError
from millrace.worker.providers.protocol import Prompt, WholeAnswer
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import Settings, load
from millrace.worker.store import conversations
from millrace.worker.store.database import Database
from tests.worker.context.asked import Asking

SCHEMA = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["travel", "other"]},
        "to": {"type": ["string", "null"]},
        "when": {"type": "string"},
        "people": {"type": "integer"},
    },
    "additionalProperties": False,
}


class Small:
    """A small model that notes what it is told to note."""

    def __init__(self, settings: Settings, asking: Asking, schema: Any = SCHEMA) -> None:
        self.asking = asking
        self.notes: Any = {}
        self.stub = Stub([], replies={"note_intent": self._reply})
        configured = load({"MILLRACE_INTENT_SCHEMA": json.dumps(schema), "MILLRACE_SMALL_MODEL_ID": "small"})
        self.source = Intent(configured, self.stub, ContextLoader(configured, asking.database), asking.database)

    def note(self, **notes: Any) -> ContextPart | None:
        """Let the next message be understood so."""
        self.notes = notes
        return self.source.gather(self.asking.ask("the message"))

    def kept(self) -> dict[str, Any]:
        """Return the conversation's context as it is kept."""
        found = self.asking.database.run(
            lambda session: conversations.find(session, self.asking.owner, self.asking.conversation)
        )
        assert found is not None
        return found.context

    def _reply(self, _prompt: Prompt) -> WholeAnswer:
        return WholeAnswer("", self.notes, Usage(1, 1))


@pytest.fixture
def small(settings: Settings, asking: Asking) -> Small:
    return Small(settings, asking)


def test_slots_are_merged_and_what_has_changed_is_told(small: Small) -> None:
    assert small.note(intent="travel", to="Tokyo", when="next week") == ContextPart(
        slots={"to": "Tokyo", "when": "next week"}, intent="travel", updated={"to": "Tokyo", "when": "next week"}
    )
    changed = small.note(intent="travel", to="Tokyo", when="Friday")
    assert changed == ContextPart(slots={"to": "Tokyo", "when": "Friday"}, intent="travel", updated={"when": "Friday"})
    assert small.note(people=4) == ContextPart(
        slots={"to": "Tokyo", "when": "Friday", "people": 4}, updated={"people": 4}
    )
    assert small.kept() == {"to": "Tokyo", "when": "Friday", "people": 4}


def test_null_takes_a_slot_out(small: Small) -> None:
    small.note(to="Tokyo", people=2)
    assert small.note(to=None) == ContextPart(slots={"people": 2}, updated={"to": None})
    assert small.kept() == {"people": 2}


def test_the_small_model_is_asked_with_what_is_known_and_was_last_said(small: Small) -> None:
    small.note(to="To</conversation_context>kyo")
    small.asking.turn("When?", "On which day?")
    small.note(when="Friday")
    asked = small.stub.questions[-1]
    assert (asked.model, asked.messages[-1].content) == ("small", "the message")
    assert asked.tool is not None
    assert asked.tool.schema == SCHEMA
    assert '{"to": "To&lt;/conversation_context&gt;kyo"}' in asked.system[1]
    assert "<last_answer>\nOn which day?\n</last_answer>" in asked.system[1]


@pytest.mark.parametrize("notes", [{"people": "four"}, {"colour": "red"}, {"intent": "war"}])
def test_what_does_not_fit_the_schema_is_refused_and_changes_nothing(
    small: Small, notes: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    small.note(to="Tokyo")
    with caplog.at_level(logging.DEBUG), pytest.raises(GenerationFailed, match="accept") as raised:
        small.note(**notes)
    assert raised.value.__suppress_context__  # the validator's own words quote the message
    assert small.kept() == {"to": "Tokyo"}


def test_a_context_does_not_grow_without_end(settings: Settings, asking: Asking) -> None:
    small = Small(settings, asking, {"type": "object"})
    small.note(a="x" * 15_000)
    with pytest.raises(conversations.ContextFull):
        small.note(b="x" * 2_000)
    assert list(small.kept()) == ["a"]


def test_a_request_with_a_history_of_its_own_has_no_conversation_to_note_anything_in(small: Small) -> None:
    own = (PromptMessage("user", "A?"), PromptMessage("assistant", "B."))
    assert small.source.gather(small.asking.question("C?", *own)) is None
    assert small.stub.questions == []


def test_a_store_that_is_away_is_said_and_no_model_is_asked(small: Small, away: Database) -> None:
    small.source._reader = ContextLoader(load({}), away)
    with pytest.raises(DatabaseUnavailable):
        small.note(to="Tokyo")
    assert small.stub.questions == []


@pytest.mark.parametrize("schema", ["{", "[]", "5", "/no/such/file"])
def test_a_setting_that_is_no_object_stops_the_start(schema: str) -> None:
    with pytest.raises(SettingError, match="MILLRACE_INTENT_SCHEMA: takes a JSON object"):
        load({"MILLRACE_INTENT_SCHEMA": schema})


def test_an_invalid_json_schema_stops_the_start() -> None:
    with pytest.raises(SettingError, match="MILLRACE_INTENT_SCHEMA: is not a JSON schema"):
        load({"MILLRACE_INTENT_SCHEMA": '{"type": "objekt"}'})
