import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from millrace.worker.contract.lease import claim
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import PromptMessage
from millrace.worker.settings.catalog import parse_models
from tests.webapp.harness import Json, WebHarness, check_problem, json_of
from tests.webapp.openapi.response_checker import Document

Build = Callable[..., WebHarness]
MODEL = "asked-model"


def optional_fields(document: Json) -> Iterator[tuple[str, str, Json, str]]:
    """Yield the method and path, the body's schema and the name of every optional field of the API.

    OpenAI's has its own rule: there only null is absent.
    """
    ours = {path: methods for path, methods in document["paths"].items() if not path.startswith("/v1/")}
    for path, methods in ours.items():
        for method, operation in methods.items():
            schema = operation.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
            found = document["components"]["schemas"].get(schema.get("$ref", "").rpartition("/")[2], {})
            for name in found.get("properties", {}).keys() - set(found.get("required", ())):
                yield method, path, schema, name


def send(site: WebHarness, method: str, path: str, key: str, body: Json) -> tuple[int, str | None]:
    """Return the status and the id of the generation; another question with the same key is 409."""
    answer = site.user.open(path, method=method, json=body, headers={"Idempotency-Key": key})
    answer.close()  # a stream ends
    generation = answer.headers.get("Millrace-Generation-Id")
    return answer.status_code, json_of(answer)["id"] if answer.status_code == 202 else generation


def test_optional_field_that_is_null_or_empty_is_absent(build: Build) -> None:
    site = build(wait_seconds=0.0)
    document = Document.of(site.app)
    retried, edited = (json_of(site.post({"message": "a"})) for _ in range(2))
    for each in (retried, edited):
        site.user.post(each["cancel_url"])
    seen: set[tuple[str, str]] = set()
    for method, path, schema, name in optional_fields(document.whole):
        base: Json = {"message": "a"} if "/chat" in path or "conversation/" in path or "-stream" in path else {}
        if path.startswith("/v1/"):
            base = {"input": "a"} if path == "/v1/responses" else {"messages": [{"role": "user", "content": "a"}]}
        if path == "/api/generations":
            base = {"messages": [{"role": "user", "content": "a"}]} if name == "message" else {"message": "a"}
        asked = retried
        if path.endswith("/edit"):
            asked, base = edited, {"message": "a"}
        places = {"user": "me", "conversation": asked["conversation_id"], "message": asked["question_id"]}
        request = (site, method, path.format(**places), f"{path} {sorted(base)}")
        without = send(*request, base)
        assert without[0] in (200, 201, 202, 504), (path, name, without)
        for value in (None, ""):
            document.check(schema, base | {name: value})
            assert send(*request, base | {name: value}) == without, (path, name, value)
        seen.add((path, name))
    assert len(seen) > 30, seen


def turns(*roles: str) -> list[dict[str, str]]:
    return [{"role": role, "content": "text"} for role in roles]


REFUSED: list[tuple[str, Any]] = [
    ("message", ""),
    ("message", " \n\t\u3000"),
    ("message", 5),
    ("message", None),
    ("message", ["a"]),
    ("message", "x" * 32_001),
    ("message", "x" * 1_000_000),
    ("conversation_id", 5),
    ("model", "another"),
    ("max_tokens", 0),
    ("max_tokens", -1),
    ("max_tokens", 4097),
    ("max_tokens", 10**40),
    ("max_tokens", 1.0),
    ("max_tokens", True),
    ("max_tokens", "5"),
    ("temperature", -0.1),
    ("temperature", 1.1),
    ("temperature", True),
    ("temperature", "0"),
    ("top_p", 2),
    ("top_p", -1),
    ("top_p", []),
    ("stop_sequences", "stop"),
    ("stop_sequences", [""]),
    ("stop_sequences", ["a", 1]),
    ("stop_sequences", ["a"] * 5),
    ("stop_sequences", ["a" * 256]),
    ("search", "yes"),
    ("search", 1),
    ("search", True),
    ("on_disconnect", "stop"),
    ("on_midstream_failure", "retry"),
    ("on_midstream_failure", True),
    ("search", "\ud83d"),
    ("on_disconnect", True),
    ("on_disconnect", "\udc00"),
    ("stream", "true"),
    ("stream", 1),
    ("metadata", []),
    ("metadata", {"a": 1}),
    ("metadata", {"a": None}),
    ("metadata", {"": "a"}),
    ("metadata", {"k" * 65: "a"}),
    ("metadata", {"k": "a" * 513}),
    ("metadata", {str(number): "a" for number in range(17)}),
    ("surprise", 1),
    ("PromptMessage", "hello"),
    ("\ud83d", 1),
    ("", 1),
]


@pytest.mark.parametrize(("field", "value"), REFUSED, ids=[f"{n}-{f!a}" for n, (f, _) in enumerate(REFUSED)])
def test_invalid_value_is_422_with_its_field_and_creates_nothing(site: WebHarness, field: str, value: Any) -> None:
    check_problem(site.post({"message": "hello", field: value}), 422, "invalid_field", field)
    assert site.made() == []
    assert site.queued_tasks() == 0


@pytest.mark.parametrize(
    "messages",
    [
        [],
        {},
        "text",
        [1],
        [None],
        turns("assistant"),
        turns("user", "assistant"),
        turns("user", "user"),
        turns("user", "user", "user"),
        turns("assistant", "user", "assistant"),
        turns("system"),
        [{"role": "user"}],
        [{"content": "text"}],
        [{"role": "user", "content": " "}],
        [{"role": "user", "content": "x" * 32_001}],
        [{"role": "user", "content": ["text"]}],
        [{"role": "user", "content": "text", "name": "me"}],
        [{"role": "user", "content": "text", "\udc00": 1}],
        [{"role": "\udc00", "content": "text"}],
        turns(*["user", "assistant"] * 250, "user"),
        turns(*["user", "assistant"] * 5000, "user"),
    ],
    ids=range(21),
)
def test_invalid_history_is_422(site: WebHarness, messages: Any) -> None:
    check_problem(site.post({"messages": messages}), 422, "invalid_field", "messages")
    assert site.made() == []


def test_request_takes_either_message_or_messages(site: WebHarness) -> None:
    check_problem(site.post({}), 422, "invalid_field", "message")
    both = {"message": "hello", "messages": turns("user")}
    check_problem(site.post(both), 422, "invalid_field", "messages")
    stored = {"messages": turns("user"), "conversation_id": "0" * 32}
    check_problem(site.post(stored), 422, "invalid_field", "conversation_id")


def test_every_field_reaches_the_worker(build: Build) -> None:
    site = build(allow_system=True, model_id="m", allowed_models=(MODEL,), max_tokens=5000)
    history = turns("user", "assistant", "user")
    fields: dict[str, Any] = {
        "messages": history,
        "system": "Be brief.",
        "model": MODEL,
        "max_tokens": 5000,
        "temperature": 1,
        "top_p": 0.0,
        "stop_sequences": ["\n", "a" * 255, "c", "d"],
        "search": "auto",
        "on_disconnect": "cancel",
        "on_midstream_failure": "continue",
        "metadata": {"k" * 64: "v" * 512, "lone": "\ud83d", **{str(number): "" for number in range(14)}},
    }
    answer = site.post(fields)
    assert answer.status_code == 202, answer.text
    holding = claim(Streams(site.redis), json_of(answer)["id"], site.services.settings)
    assert holding is not None
    asked = holding.request
    assert asked.messages == [PromptMessage(each["role"], each["content"]) for each in history]  # type: ignore[arg-type]
    assert (asked.system, asked.model, asked.max_tokens) == ("Be brief.", MODEL, 5000)
    assert (asked.temperature, asked.top_p, asked.search) == (1.0, 0.0, False)
    assert asked.stop_sequences == fields["stop_sequences"]
    assert asked.metadata == fields["metadata"]
    assert asked.on_midstream_failure == "continue"


@pytest.mark.parametrize(
    "text",
    ["x", "x" * 32_000, "\ud83d lone \udc00", "a\x00b\u2028c\r\n", "\U0001f600" * 10, "\u202eשלום"],
    ids=range(6),
)
def test_any_text_reaches_the_worker_unchanged(site: WebHarness, text: str) -> None:
    assert site.hold(site.ask(text)).request.messages == [PromptMessage("user", text)]


def test_parameters_that_the_model_does_not_take_are_422_with_their_field(build: Build) -> None:
    models = {"newest": {"sampling": "none"}, "own": {"like": "us.anthropic.claude-sonnet-4-5-20250929-v1:0"}}
    site = build(allowed_models=("own", "newest", "any"), models=parse_models(json.dumps(models)))
    for fields, wrong in (
        ({"temperature": 0.5, "top_p": 0.5}, "top_p"),
        ({"model": "own", "temperature": 0, "top_p": 0}, "top_p"),
        ({"model": "newest", "temperature": 1}, "temperature"),
        ({"model": "newest", "top_p": 1}, "top_p"),
        ({"stop_sequences": ["a", "\n\n"]}, "stop_sequences"),
        ({"model": "own", "stop_sequences": [" "]}, "stop_sequences"),
    ):
        check_problem(site.post({"message": "hello"} | fields), 422, "invalid_field", wrong)
    assert site.made() == []
    for fields in (
        {"temperature": 0.5},
        {"top_p": 0.5, "stop_sequences": ["a"]},
        {"model": "any", "temperature": 0.5, "top_p": 0.5, "stop_sequences": ["\n\n"]},
        {"model": "newest"},
    ):
        assert site.post({"message": "hello"} | fields).status_code == 202, fields


def test_absent_field_takes_its_value_from_the_settings(build: Build) -> None:
    site = build(model_id="configured", max_tokens=77)
    asked = site.hold(site.ask(search=False)).request
    assert (asked.model, asked.max_tokens, asked.temperature, asked.system) == ("configured", 77, None, None)


@pytest.mark.parametrize(("given", "reaches"), [({}, "auto"), ({"search": True}, True), ({"search": False}, False)])
def test_configured_search_is_automatic_unless_the_request_sets_it(
    build: Build, given: dict[str, Any], reaches: object
) -> None:
    site = build(search_engine="searxng", search_url="http://127.0.0.1:8888")
    assert site.hold(site.ask(**given)).request.search == reaches


def test_system_is_403_unless_the_settings_allow_it(build: Build) -> None:
    check_problem(build().post({"message": "a", "system": "b"}), 403, "system_not_allowed", "system")
    allowed = build(allow_system=True)
    check_problem(allowed.post({"message": "a", "system": " "}), 422, "invalid_field", "system")
    assert allowed.hold(allowed.ask(system="b")).request.system == "b"


def test_long_invalid_value_is_truncated_in_the_response(site: WebHarness) -> None:
    assert len(site.post({"message": "a", "on_disconnect": "x" * 500_000}).data) < 1000
    assert len(site.post({"message": "a", "x" * 500_000: 1}).data) < 1000
