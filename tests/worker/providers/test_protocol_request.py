"""The operator's own members of a request: merged into those of answers, and never in the place of Millrace's."""

import json
from collections.abc import Iterator
from typing import Any, cast

import pytest

from millrace.worker.contract.request import PromptMessage
from millrace.worker.errors import ProviderError, SettingError
from millrace.worker.providers.protocol import Prompt, Tool
from millrace.worker.settings.catalog import ModelTraits
from millrace.worker.settings.schema import load
from tests.worker.providers.http_server import plain, serving
from tests.worker.providers.wires import WIRES

QUESTION = PromptMessage("user", "Why?")
PLAIN = Prompt("m", (QUESTION,), 9)
TOOL = Prompt(
    "m", (QUESTION,), 9, tool=Tool("note", "Notes.", {"type": "object"}), traits=ModelTraits(9000, tools=True)
)
FULL = Prompt("m", (QUESTION,), 9, ("Be brief.",), 0.5, 0.9, ("END",), traits=ModelTraits(9000, schema=True))
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}, "additionalProperties": False}
FORMATTED = Prompt("m", (QUESTION,), 9, schema=SCHEMA, traits=ModelTraits(9000, schema=True))

GIVEN: dict[str, dict[str, Any]] = {
    "anthropic": {"service_tier": "auto", "top_k": 5, "output_config": {"effort": "low"}},
    "openai-chat": {"reasoning_effort": "low", "provider": {"order": ["a"]}},
    "openai-responses": {"reasoning": {"effort": "low"}, "text": {"verbosity": "low"}, "store": True},
    "gemini": {"safetySettings": [{"category": "c"}], "generationConfig": {"thinkingConfig": {"thinkingBudget": 9}}},
}
"""Members for each wire, some of them within an object of Millrace's."""

MAY_DIFFER = ("store", "generationConfig.thinkingConfig")
"""Millrace sets these as well, and the operator may prefer another value."""


def bodies(wire: str, given: dict[str, Any] | None, *prompts: Prompt) -> list[dict[str, Any]]:
    """Return the bodies in which a wire asks for streams; the server refuses each, but no part of it."""
    make, settings = WIRES[wire]
    name = f"MILLRACE_{wire.partition('-')[0].upper()}_REQUEST"
    with serving(plain(503, b"{}")) as server:
        environment = {each: value.format(url=server.url) for each, value in settings.items()}
        provider = make(load(environment | ({} if given is None else {name: json.dumps(given)})), 1)
        for prompt in prompts:
            with pytest.raises(ProviderError):
                next(provider.stream(prompt))
        provider.close()
    return [json.loads(request.partition(b"\r\n\r\n")[2]) for request in server.requests]


def paths(body: dict[str, Any]) -> Iterator[str]:
    """Yield the paths of the members of a body, and of its objects."""
    for name, value in body.items():
        if isinstance(value, dict):
            yield from (f"{name}.{each}" for each in cast("dict[str, Any]", value))
        yield name


def holds(body: Any, given: Any) -> bool:
    """Return whether a body has all that is given."""
    if isinstance(given, dict) and isinstance(body, dict):
        return all(name in body and holds(body[name], value) for name, value in cast("dict[str, Any]", given).items())
    return body == given


@pytest.mark.parametrize("wire", GIVEN)
def test_the_operators_members_are_merged_into_the_requests_of_answers_alone(wire: str) -> None:
    prompts = (PLAIN, FULL, FORMATTED, TOOL)
    own, made = bodies(wire, None, *prompts), bodies(wire, GIVEN[wire], *prompts)
    for number in range(3):
        assert holds(made[number], GIVEN[wire]), number
        kept = {path for path in paths(own[number]) if path not in MAY_DIFFER}
        assert kept <= {*paths(made[number])}, number
    assert made[3] == own[3], "a question with a tool is none of the user's"


@pytest.mark.parametrize("wire", GIVEN)
def test_no_member_that_millrace_sets_can_be_given(wire: str) -> None:
    """Each member of the bodies is refused at the start by its name, or is an object whose members are."""
    name = f"MILLRACE_{wire.partition('-')[0].upper()}_REQUEST"
    made = {path for body in bodies(wire, None, PLAIN, FULL, FORMATTED, TOOL) for path in paths(body)}
    words = {path: refusal(name, path) for path in made}
    objects = {path.partition(".")[0] for each in GIVEN.values() for path in paths(each)}
    assert {path for path, text in words.items() if not text} <= {*MAY_DIFFER, *objects}
    for path, text in words.items():
        assert not text or (text.startswith(f"{name}: ") and path.partition(".")[0] in text), text


def refusal(setting: str, path: str) -> str:
    """Return the words that refuse a member; empty if it is accepted."""
    given: dict[str, Any] = {}
    for each in reversed(path.split(".")):
        given = {each: given}
    try:
        load({setting: json.dumps(given)})
    except SettingError as error:
        return str(error)
    return ""
