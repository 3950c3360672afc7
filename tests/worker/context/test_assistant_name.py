"""An assistant without a name is named once, by the small model, and no answer waits for it."""

from typing import Any

import pytest
from gevent.event import Event

from millrace.worker.context.assistant_name import AssistantNamer
from millrace.worker.context.stored_context import ContextLoader, StoredContextSource
from millrace.worker.contract.events import Usage
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Prompt, WholeAnswer
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from tests.worker.context.harness import StoredConversation
from tests.worker.harness import route, wait_until

PROFILE = {"text": "I am Ada, a miller."}


class NamerHarness:
    """A source whose small model returns `name`, once `may_answer` is set."""

    def __init__(self, settings: Settings, conversation: StoredConversation, name: Any = "Flour") -> None:
        self.may_answer = Event()
        self.name = name
        self.stub = Stub([], replies={"name_assistant": self._reply})
        self.namer = AssistantNamer(settings, route(self.stub, settings), conversation.database)
        self._source = StoredContextSource(ContextLoader(settings, conversation.database), self.namer)
        self._conversation = conversation

    def answer(self) -> str:
        """Gather the profile for one more question, and return the assistant's name in it."""
        part = self._source.gather(self._conversation.store_question("Who am I?"))
        return part.assistant_name if part else "-"

    def stored_profile(self) -> dict[str, Any] | None:
        """Return the profile in the database."""
        return self._conversation.database.run(lambda session: profiles.find(session, "ada"))

    def store(self, profile: dict[str, Any]) -> None:
        """Store a profile."""
        self._conversation.database.run(lambda session: profiles.save(session, "ada", profile))

    def _reply(self, _prompt: Prompt) -> WholeAnswer:
        self.may_answer.wait()
        if isinstance(self.name, Exception):
            raise self.name
        return WholeAnswer("", {"name": self.name}, Usage(1, 1))


@pytest.fixture
def namer(settings: Settings, conversation: StoredConversation) -> NamerHarness:
    namer = NamerHarness(settings, conversation)
    namer.store(PROFILE)
    return namer


def test_answers_do_not_wait_and_share_one_naming_call(namer: NamerHarness) -> None:
    assert [namer.answer(), namer.answer(), namer.answer()] == ["", "", ""]
    namer.may_answer.set()
    wait_until(lambda: namer.answer() == "Flour", "the name")
    assert len(namer.stub.questions) == 1
    assert namer.stored_profile() == PROFILE | {"assistant_name": "Flour"}
    assert "I am Ada, a miller." in namer.stub.questions[0].messages[0].content


def test_a_profile_changed_during_the_call_is_not_overwritten(namer: NamerHarness) -> None:
    namer.answer()
    changed = {"text": "I am Ada, a baker now.", "assistant_name": "Bun"}
    namer.store(changed)
    namer.may_answer.set()
    wait_until(lambda: not namer.namer.running, "the end of the call")
    assert namer.stored_profile() == changed


@pytest.mark.parametrize(
    "failing", [ProviderError("provider_unavailable", retryable=True), "", 5], ids=["fails", "empty", "no text"]
)
def test_a_failed_call_is_repeated_with_the_next_answer(namer: NamerHarness, failing: Any) -> None:
    namer.may_answer.set()
    name, namer.name = namer.name, failing
    namer.answer()
    wait_until(lambda: not namer.namer.running, "the end of the call")
    assert namer.stored_profile() == PROFILE
    namer.name = name
    wait_until(lambda: namer.answer() == "Flour", "the name")


def test_a_name_is_one_short_line(namer: NamerHarness) -> None:
    namer.may_answer.set()
    namer.name = " Flour\n\nof the " + "mill " * 100
    namer.answer()
    wait_until(lambda: len(name := namer.answer()) == 40 and name.startswith("Flour of the mill"), "the name")


def test_an_empty_profile_starts_no_call(namer: NamerHarness) -> None:
    namer.store({"text": " "})
    namer.answer()
    assert namer.stub.questions == []


def test_running_calls_end_with_the_process(namer: NamerHarness) -> None:
    namer.answer()
    namer.namer.close()
    assert not namer.namer.running
