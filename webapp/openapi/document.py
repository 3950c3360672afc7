"""The OpenAPI 3.1 document of an app, built from its routes and the `Description` beside each view.

https://spec.openapis.org/oas/v3.1.1.html
"""

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from millrace.webapp.request_input import MAX_PAGE_ITEMS
from millrace.webapp.schemas import ProblemBody
from millrace.worker.contract.events import AnyEvent

Json = dict[str, Any]
View = TypeVar("View", bound=Callable[..., Any])

VERSION = "1"
IDEMPOTENCY_KEY = ("header", "Idempotency-Key", "The same key within 24 h returns the same generation.")
LAST_EVENT_ID = ("header", "Last-Event-ID", "The cursor: the id of the last event that the client has received.")
LAST_EVENT_ID_QUERY = ("query", "lastEventId", "The same; polyfills of EventSource send it.")
AFTER = ("query", "after", "The cursor, for clients that cannot send the header.")
CURSOR = ("query", "cursor", "The start of the page: `next` of the previous page.")
LIMIT = ("query", "limit", f"The maximum number of items, 1 to {MAX_PAGE_ITEMS}.")

_ATTRIBUTE = "description_for_openapi"
_REFERENCE = "#/components/schemas/{name}"
_RESPONSE = "#/components/responses/{name}"
_METHODS = ("get", "post", "put", "patch", "delete")  # Flask adds HEAD and OPTIONS by itself
# The operation ids under which these endpoints are published: generated clients use them, so they stay as they are.
_PUBLISHED_NAMES = {
    "millrace.documents.get_page": "millrace.page.show",
    "millrace.conversations.list_conversations": "millrace.conversations.show_all",
    "millrace.conversations.create_conversation": "millrace.conversations.make",
    "millrace.conversations.delete_conversation": "millrace.conversations.delete",
    "millrace.conversations.get_conversation": "millrace.conversations.show",
    "millrace.conversations.rename_conversation": "millrace.conversations.rename",
    "millrace.conversations.get_context": "millrace.conversation_context.show",
    "millrace.conversations.merge_context": "millrace.conversation_context.merge",
    "millrace.messages.list_messages": "millrace.conversations.show_messages",
    "millrace.messages.retry_message": "millrace.conversations.retry",
    "millrace.events.stream_many": "millrace.events.follow",
    "millrace.generations.create_generation": "millrace.generations.ask",
    "millrace.generations.cancel_generation": "millrace.generations.stop",
    "millrace.generations.get_generation": "millrace.generations.look",
    "millrace.generations.stream_events": "millrace.generations.follow",
    "millrace.memories.delete_all_memories": "millrace.memories.forget_all",
    "millrace.memories.list_memories": "millrace.memories.show",
    "millrace.memories.delete_memory": "millrace.memories.forget",
    "millrace.documents.get_openapi": "millrace.openapi.show",
    "millrace.profile.get_profile": "millrace.profile.show",
    "millrace.profile.put_profile": "millrace.profile.put",
    "millrace.health.get_liveness": "millrace.health.live",
    "millrace.beacon.post_beacon": "millrace.beacon.send",
    "millrace.metrics.get_metrics": "millrace.metrics.show",
    "millrace.metrics.get_cluster_metrics": "millrace.metrics.show_cluster",
    "millrace.health.get_readiness": "millrace.health.ready",
}
_JSON, _PROBLEM, _STREAM = "application/json", "application/problem+json", "text/event-stream"
_TEXT = "text/plain"


@dataclass(frozen=True)
class Description:
    """A route's request and responses, as msgspec types.

    `answers` has the type of each status that is not a problem, None for an empty body; `stream` the types of the
    `data:` lines on a 200 of `text/event-stream`. Problems are added to each route; `problem` is their type where a
    facade renders them in JSON of its own, and `str` where they may be plain text as well. A parameter is its location,
    its name and its description. A body that has several forms is a tuple of their types. `text_media` is the type of a
    text that a 200 may have instead.
    """

    answers: Mapping[int, Any] = field(default_factory=dict[int, Any])
    body: Any = None
    stream: tuple[Any, ...] = ()
    parameters: tuple[tuple[str, str, str], ...] = ()
    media: str = "application/json"
    text_media: str | None = None
    problem: type[msgspec.Struct] | type[str] = ProblemBody

    @property
    def bodies(self) -> tuple[Any, ...]:
        """The types of the body's forms; none where the request has no body."""
        return self.body if isinstance(self.body, tuple) else () if self.body is None else (self.body,)


def described(description: Description) -> Callable[[View], View]:
    """Attach a description to a view."""

    def describe(view: View) -> View:
        setattr(view, _ATTRIBUTE, description)
        return view

    return describe


def description_of(view: Callable[..., Any]) -> Description | None:
    """Return the description of a view, None if it has none."""
    return cast("Description | None", getattr(view, _ATTRIBUTE, None))


def build_document(app: Flask, mount: str | None = None) -> Json:
    """Return the document of the described routes of one mount, by default of all; a host's own have no description."""
    rules = [rule for rule in app.url_map.iter_rules() if mount is None or rule.endpoint.startswith(f"{mount}.")]
    views = [(rule, description_of(app.view_functions[rule.endpoint])) for rule in rules]
    routes = [(rule, description) for rule, description in views if description is not None]
    types = [ProblemBody, AnyEvent, *(each for _, description in routes for each in _types_of(description))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {id(each): schema for each, schema in zip(types, schemas, strict=True)}
    components["GenerationEvent"] = schema_of[id(AnyEvent)]
    schema_of[id(AnyEvent)] = {"$ref": _REFERENCE.format(name="GenerationEvent")}
    for name in {body.__name__ for _, description in routes for body in description.bodies if _is_struct(body)}:
        _allow_absent(components[name])
    paths: dict[str, Json] = {}
    for rule, description in routes:
        for method in _METHODS:
            if method.upper() in (rule.methods or ()):
                path = re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule)
                operation = _operation(app, rule, method, description, schema_of)
                paths.setdefault(path, {})[method] = operation
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Millrace",
            "version": VERSION,
            "description": "Streams LLM answers that outlive the request that created them.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "responses": {
                "Problem": {
                    "description": "The request was rejected or failed.",
                    "content": _content(_PROBLEM, ProblemBody),
                },
                "ProblemOrText": {
                    "description": "The request was rejected or failed. The text is for users.",
                    "content": {**_content(_PROBLEM, ProblemBody), _TEXT: {"schema": {"type": "string"}}},
                },
            },
        },
    }


def _types_of(description: Description) -> list[Any]:
    given = (*description.bodies, *description.stream, *description.answers.values(), description.problem)
    return [each for each in given if each is not None]


def _allow_absent(schema: Json) -> None:
    """Let the optional fields of a request's body be null or an empty text, which count as absent."""
    for name, each in schema["properties"].items():
        if name not in schema["required"]:
            schema["properties"][name] = {"anyOf": [each, {"enum": [None, ""]}]}


def _is_struct(given: Any) -> bool:
    return inspect.isclass(given) and issubclass(given, msgspec.Struct)


def _operation(app: Flask, rule: Rule, method: str, description: Description, schema_of: dict[int, Json]) -> Json:
    doc = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    operation: Json = {
        "operationId": f"{_PUBLISHED_NAMES.get(rule.endpoint, rule.endpoint)}.{method}",
        "summary": doc.partition("\n")[0],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in rule.arguments),
            *(
                {"name": name, "in": place, "description": text, "schema": {"type": "string"}}
                for place, name, text in description.parameters
            ),
        ],
        "responses": {},
    }
    if forms := [schema_of[id(each)] for each in description.bodies]:
        schema = forms[0] if len(forms) == 1 else {"anyOf": forms}
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema}}}
    responses = operation["responses"]
    for status, answer in description.answers.items():
        responses[str(status)] = {"description": _response_description(answer)}
        if answer is not None:
            responses[str(status)]["content"] = {description.media: {"schema": schema_of[id(answer)]}}
    if description.text_media is not None:
        responses["200"]["content"][description.text_media] = {"schema": {"type": "string"}}
    if description.stream:
        success = responses.setdefault("200", {"description": "The stream."})
        lines = [schema_of[id(each)] for each in description.stream]
        each = {
            "description": "Server-sent events. The schema is that of the JSON in each `data:` line.",
            "anyOf": lines,
        }
        success.setdefault("content", {})[_STREAM] = {"schema": each}
    responses["default"] = _problem_response(description.problem)
    return operation


def _problem_response(problem: type[msgspec.Struct] | type[str]) -> Json:
    if problem is ProblemBody:
        return {"$ref": _RESPONSE.format(name="Problem")}
    if issubclass(problem, str):
        return {"$ref": _RESPONSE.format(name="ProblemOrText")}
    return {"description": "The request was rejected or failed.", "content": _content(_JSON, problem)}


def _response_description(answer: Any) -> str:
    doc = inspect.getdoc(answer) if _is_struct(answer) else None
    return (doc or "Done.").partition("\n")[0]


def _content(media: str, struct: type[msgspec.Struct]) -> Json:
    return {media: {"schema": {"$ref": _REFERENCE.format(name=struct.__name__)}}}
