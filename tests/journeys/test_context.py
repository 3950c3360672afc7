"""The context of an answer, through the whole system: history, profile, memories and intent."""

import json
from pathlib import Path
from typing import Any

import httpx

from millrace.worker.settings.schema import load
from millrace.worker.store import memories
from millrace.worker.store.database import Database
from tests.client import Client, Json
from tests.system import System

FACT = "The user's cat is called Miller."
QUESTION = "What is my cat called?"
TRAVEL = {
    "type": "object",
    "properties": {
        "intent": {"enum": ["plan_trip", "other"]},
        "destination": {"enum": ["Tokyo", "Oslo"]},
        "when": {"type": "string", "pattern": "next week|[A-Z][a-z]+day"},
        "people": {"type": "integer"},
    },
    "required": ["intent"],
}
NAMED = {"MILLRACE_AUTH": "header", "MILLRACE_AUTH_HEADER": "X-Forwarded-User"}


class User(Client):
    """One user of a system, who may come back to it after a restart."""

    def __init__(self, system: System, name: str) -> None:
        super().__init__(system.url)
        self.system = system
        self.name = name
        self.http.headers["X-Forwarded-User"] = name

    def turn(self, message: str, conversation: str | None = None) -> tuple[str, Json, str]:
        """Ask; return the conversation, what the answer is built on, and all that the model was asked, as text."""
        given = {"conversation_id": conversation} if conversation else {}
        received = self.whole(self.ask(message, **given))
        built = [each.event for each in received if each.event["type"] == "context"]
        address = f"{self.system.emulator_url}/_calls"
        calls: list[Json] = httpx.get(address, timeout=30, trust_env=False, verify=False).json()
        asked = [call for call in calls if call["operation"] == "ConverseStream"][-1]
        assert asked["messages"][-1]["content"][-1] == {"text": message}
        texts = [block["text"] for each in asked["messages"] for block in each["content"] if "text" in block]
        return received[0].event["conversation_id"], (built or [{}])[0], "\n".join(texts[:-1])

    def learn(self, fact: str) -> None:
        """Have a fact learned of this user."""
        database = Database(load({"MILLRACE_DATABASE_URL": f"sqlite:///{self.system.state}/millrace.db"}))
        assert database.run(lambda session: memories.add(session, self.name, fact))
        database.close()

    def get(self, path: str) -> Any:
        """Return what an address gives."""
        return self.http.get(path).json()


def test_a_users_memories_are_used_in_another_conversation_after_a_restart_and_for_no_other_user(
    tmp_path: Path,
) -> None:
    with System(tmp_path, **NAMED) as system, User(system, "ada") as ada:
        first, built, _ = ada.turn("Hello.")
        assert built == {}
        ada.learn(FACT)
        ada.http.put("/api/profile", json={"text": "I am Ada, a miller."}).raise_for_status()
        _, built, before = ada.turn("And now?", first)
        assert (built["history"], built["profile"]) == (2, 1)
        assert before.startswith("Hello.\n")
    with System(tmp_path, **NAMED) as system, User(system, "ada") as ada, User(system, "eve") as eve:
        second, built, known = ada.turn(QUESTION)
        assert second != first
        assert (built["memory"], built["profile"], built["history"]) == (1, 1, 0)
        assert FACT in known
        _, built, known = eve.turn(QUESTION)
        assert built == {}
        assert FACT not in known
        assert [each["content"] for each in ada.get("/api/memories")["memories"]] == [FACT]
        assert ada.http.delete("/api/memories").status_code == 204
        assert ada.turn(QUESTION)[1]["memory"] == 0
        assert ada.get("/api/profile")["assistant_name"]  # the model has made one up meanwhile


def test_the_intent_of_each_message_is_merged_into_the_conversation_context(tmp_path: Path) -> None:
    settings = {**NAMED, "MILLRACE_INTENT_SCHEMA": json.dumps(TRAVEL)}
    with System(tmp_path, **settings) as system, User(system, "ada") as user:
        conversation, built, _ = user.turn("Tokyo next week")
        address = f"/api/conversations/{conversation}/context"
        assert (built["intent"], built["updated"]) == ("plan_trip", {"destination": "Tokyo", "when": "next week"})
        assert user.turn("make it Friday", conversation)[1]["updated"] == {"when": "Friday"}
        changed = user.http.patch(address, json={"destination": "Oslo", "budget": 900}).json()
        assert changed == {"destination": "Oslo", "when": "Friday", "budget": 900}
        _, built, known = user.turn("for four", conversation)
        assert built["updated"] == {"people": 4}
        assert user.get(address) == {**changed, "people": 4}
        assert json.dumps({**changed, "people": 4}) in known
