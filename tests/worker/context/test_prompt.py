"""The prompt holds the configured instructions, then the request's own, and its messages as they are."""

from worker.context.prompt import build_prompt
from worker.contract.request import Message, Request
from worker.contract.settings import load
from worker.providers.protocol import Prompt

HISTORY = [Message("user", "One?"), Message("assistant", "Two."), Message("user", "Three?")]


def test_a_bare_request_asks_its_messages_alone() -> None:
    assert build_prompt(Request(HISTORY, "model", 10), load({})) == Prompt("model", tuple(HISTORY), 10)


def test_the_configured_instructions_stand_before_the_requests_own() -> None:
    request = Request(HISTORY, "model", 10, "Be brief.", 0.5, 0.9, ["STOP"])
    prompt = build_prompt(request, load({"MILLRACE_SYSTEM_PROMPT": "Be kind."}))
    assert prompt.system == ("Be kind.", "Be brief.")
    assert (prompt.temperature, prompt.top_p, prompt.stop_sequences) == (0.5, 0.9, ("STOP",))


def test_a_beginning_of_the_answer_is_the_last_message() -> None:
    prompt = build_prompt(Request(HISTORY, "model", 10), load({}), "Well,")
    assert prompt.messages == (*HISTORY, Message("assistant", "Well,"))
