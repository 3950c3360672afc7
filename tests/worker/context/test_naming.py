"""A nameless assistant is named once, by the small model, beside the answers, which wait for nothing."""

from typing import Any

import pytest
from gevent.event import Event

from millrace.worker.context.loader import ContextLoader
from millrace.worker.context.naming import Naming
from millrace.worker.context.profile import UserProfile
from millrace.worker.contract.events import Usage
from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Prompt, WholeAnswer
from millrace.worker.providers.stub import Stub
from millrace.worker.settings.schema import Settings
from millrace.worker.store import profiles
from tests.worker.context.asked import Asking
from tests.worker.desk import wait_until

KEPT = {"text": "I am Ada, a miller."}


class Small:
    """A small model that answers when it is let, and a profile source that goes by it."""

    def __init__(self, settings: Settings, asking: Asking, given: Any = "Flour") -> None:
        self.let = Event()
        self.given = given
        self.stub = Stub([], replies={"name_assistant": self._reply})
        self.naming = Naming(settings, self.stub, asking.database)
        self._source = UserProfile(ContextLoader(settings, asking.database), self.naming)
        self._asking = asking

    def answer(self) -> str:
        """Let an answer be built, and return what it calls the assistant."""
        piece = self._source.gather(self._asking.ask("Who am I?"))
        return piece.assistant_name if piece else "-"

    def kept(self) -> dict[str, Any] | None:
        """Return the profile as it is kept."""
        return self._asking.database.run(lambda session: profiles.find(session, "ada"))

    def put(self, profile: dict[str, Any]) -> None:
        """Keep a profile."""
        self._asking.database.run(lambda session: profiles.save(session, "ada", profile))

    def _reply(self, _prompt: Prompt) -> WholeAnswer:
        self.let.wait()
        if isinstance(self.given, Exception):
            raise self.given
        return WholeAnswer("", {"name": self.given}, Usage(1, 1))


@pytest.fixture
def small(settings: Settings, asking: Asking) -> Small:
    made = Small(settings, asking)
    made.put(KEPT)
    return made


def test_answers_go_on_while_the_name_is_made_once_for_all_of_them(small: Small) -> None:
    assert [small.answer(), small.answer(), small.answer()] == ["", "", ""]
    small.let.set()
    wait_until(lambda: small.answer() == "Flour", "the name")
    assert len(small.stub.questions) == 1
    assert small.kept() == KEPT | {"assistant_name": "Flour"}
    assert "I am Ada, a miller." in small.stub.questions[0].messages[0].content


def test_a_profile_that_was_changed_meanwhile_stays_as_the_user_put_it(small: Small) -> None:
    small.answer()
    changed = {"text": "I am Ada, a baker now.", "assistant_name": "Bun"}
    small.put(changed)
    small.let.set()
    wait_until(lambda: not small.naming.running, "the end of it")
    assert small.kept() == changed


@pytest.mark.parametrize(
    "failing", [GenerationFailed("provider_unavailable", retryable=True), "", 5], ids=["fails", "empty", "no text"]
)
def test_a_name_that_can_not_be_had_is_asked_for_again_with_the_next_answer(small: Small, failing: Any) -> None:
    small.let.set()
    given, small.given = small.given, failing
    small.answer()
    wait_until(lambda: not small.naming.running, "the end of it")
    assert small.kept() == KEPT
    small.given = given
    wait_until(lambda: small.answer() == "Flour", "the name")


def test_a_name_is_one_short_line(small: Small) -> None:
    small.let.set()
    small.given = " Flour\n\nof the " + "mill " * 100
    small.answer()
    wait_until(lambda: len(name := small.answer()) == 40 and name.startswith("Flour of the mill"), "the name")


def test_a_profile_that_tells_nothing_is_no_ground_for_a_name(small: Small) -> None:
    small.put({"text": " "})
    small.answer()
    assert small.stub.questions == []


def test_what_is_being_made_ends_with_the_process(small: Small) -> None:
    small.answer()
    small.naming.close()
    assert not small.naming.running
