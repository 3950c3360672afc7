"""The document matches the app. `WebHarness` also checks every response of the web tier's other tests against it."""

import json
import re
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator, ValidationError

from millrace.webapp.facades.chat import CHAT_LINES, ChatDialect
from millrace.webapp.facades.conversation import SESSION_LINES, ConversationDialect
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.routes.health import Alive
from millrace.worker.contract.events import AnyEvent, Done, encode
from tests.webapp.harness import WebHarness, json_of
from tests.webapp.openapi.response_checker import Document
from tests.worker.contract.test_events import SAMPLES

Json = dict[str, Any]


@pytest.fixture
def document(site: WebHarness) -> Json:
    answer = site.user.get("/api/openapi.json")
    assert (answer.status_code, answer.mimetype) == (200, "application/json")
    return json_of(answer)


def test_document_has_every_route_of_the_app(site: WebHarness, document: Json) -> None:
    routes = {
        (re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule), method.lower())
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
        if not rule.endpoint.endswith(".static")
    }
    assert routes == {(path, method) for path, methods in document["paths"].items() for method in methods}
    assert ("/api/generations/{generation}/events", "get") in routes


def test_document_leaves_out_the_routes_of_a_host_app(site: WebHarness) -> None:
    site.app.add_url_rule("/hosts/<thing>", "hosts", lambda thing: thing)
    assert "/hosts/{thing}" not in json_of(site.user.get("/api/openapi.json"))["paths"]


def test_document_has_no_dangling_references_and_valid_schemas(document: Json) -> None:
    assert document["openapi"].startswith("3.1.")
    Draft202012Validator.check_schema({"$defs": document["components"]["schemas"]})
    references = set(re.findall(r"'#/components/(\w+)/(\w+)'", str(document)))
    assert len(references) > 20
    assert all(name in document["components"][kind] for kind, name in references)
    operations = [each for methods in document["paths"].values() for each in methods.values()]
    assert len({each["operationId"] for each in operations}) == len(operations)
    assert all(each["summary"] for each in operations)


def test_request_body_schema_has_bounds_and_rejects_unknown_fields(site: WebHarness) -> None:
    document = Document.of(site.app)
    body = document.whole["paths"]["/api/generations"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    document.check(body, {"message": "a", "temperature": 0.5, "search": "auto", "metadata": {"a": "b"}})
    for wrong in ({"temperature": 2}, {"unknown": 1}, {"search": "maybe"}, {"messages": [{"role": "system"}]}):
        with pytest.raises(ValidationError):
            document.check(body, wrong)


EVENTS = st.one_of(*SAMPLES.values())


@settings(max_examples=100)
@given(event=EVENTS)
def test_every_event_matches_its_schema(site: WebHarness, event: AnyEvent) -> None:
    document, sent = Document.of(site.app), json.loads(encode(event))
    document.check({"$ref": "#/components/schemas/GenerationEvent"}, sent)
    with pytest.raises(ValidationError):
        document.check({"$ref": "#/components/schemas/GenerationEvent"}, {**sent, "type": "unknown"})


@pytest.mark.parametrize(
    ("dialect", "path", "lines"),
    [
        (ConversationDialect, "/api/conversation-stream/{user}", SESSION_LINES),
        (ChatDialect, "/api/chat", CHAT_LINES),
    ],
)
@settings(max_examples=100)
@given(events=st.lists(EVENTS))
def test_every_line_of_a_dialect_matches_its_schema(
    site: WebHarness, dialect: Any, path: str, lines: tuple[Any, ...], events: list[AnyEvent]
) -> None:
    document, renderer = Document.of(site.app), dialect()
    rendered = [
        line for event in (*events, Done("completed")) for line in renderer.render(event, 0)
    ] + renderer.interrupted()
    assert {type(line) for line in rendered} <= {each for each in lines if isinstance(each, type)} | {str}
    schema = document.whole["paths"][path]["post"]["responses"]["200"]["content"]["text/event-stream"]["schema"]
    for line in msgspec.to_builtins(rendered):
        document.check(schema, line)


def test_response_that_contradicts_the_document_is_detected(site: WebHarness) -> None:
    @described(Description(answers={200: Alive}))
    def lie() -> Json:
        """Lie."""
        return {"status": "dead"}

    site.app.add_url_rule("/lie", "lie", lie)
    site.app.testing = True
    with pytest.raises(ValidationError, match="'dead' is not one of"):
        site.user.get("/lie")
