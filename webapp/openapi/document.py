"""Builds the OpenAPI 3.1 document of an app from its routes and what they say of themselves.

https://spec.openapis.org/oas/v3.1.1.html
"""

import inspect
import re
from typing import Any

import msgspec
from flask import Flask
from werkzeug.routing import Rule

from millrace.webapp.openapi.describing import Description, description_of
from millrace.webapp.schemas import ProblemBody
from millrace.worker.contract.events import AnyEvent

Json = dict[str, Any]

VERSION = "1"
_REFERENCE = "#/components/schemas/{name}"
_METHODS = ("get", "post", "put", "patch", "delete")  # Flask adds HEAD and OPTIONS by itself
_JSON, _PROBLEM, _STREAM = "application/json", "application/problem+json", "text/event-stream"


def build_document(app: Flask) -> Json:
    """Return the document of all the routes that say something of themselves; a host app's own do not."""
    views = [(rule, description_of(app.view_functions[rule.endpoint])) for rule in app.url_map.iter_rules()]
    described = [(rule, description) for rule, description in views if description is not None]
    types = [ProblemBody, AnyEvent, *(each for _, description in described for each in _types_of(description))]
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    schema_of = {id(each): schema for each, schema in zip(types, schemas, strict=True)}
    components["GenerationEvent"] = schema_of[id(AnyEvent)]
    schema_of[id(AnyEvent)] = {"$ref": _REFERENCE.format(name="GenerationEvent")}
    paths: dict[str, Json] = {}
    for rule, description in described:
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
            "description": "Streams answers that outlive the request which asked for them.",
        },
        "paths": dict(sorted(paths.items())),
        "components": {
            "schemas": components,
            "responses": {"Problem": {"description": "Refused or failed.", "content": _content(_PROBLEM, ProblemBody)}},
        },
    }


def _types_of(description: Description) -> list[Any]:
    given = (description.body, *description.stream, *description.answers.values())
    return [each for each in given if each is not None]


def _operation(app: Flask, rule: Rule, method: str, description: Description, schema_of: dict[int, Json]) -> Json:
    doc = inspect.getdoc(app.view_functions[rule.endpoint]) or ""
    operation: Json = {
        "operationId": f"{rule.endpoint}.{method}",
        "summary": doc.partition("\n")[0],
        "parameters": [
            *({"name": name, "in": "path", "required": True, "schema": {"type": "string"}} for name in rule.arguments),
            *(
                {"name": name, "in": place, "description": what, "schema": {"type": "string"}}
                for place, name, what in description.parameters
            ),
        ],
        "responses": {},
    }
    if description.body is not None:
        operation["requestBody"] = {"required": True, "content": {_JSON: {"schema": schema_of[id(description.body)]}}}
    responses = operation["responses"]
    for status, answer in description.answers.items():
        responses[str(status)] = {"description": _what(answer)}
        if answer is not None:
            responses[str(status)]["content"] = {description.media: {"schema": schema_of[id(answer)]}}
    if description.stream:
        success = responses.setdefault("200", {"description": "The stream."})
        lines = [schema_of[id(each)] for each in description.stream]
        each = {"description": "Server-sent events; this is the JSON of each `data:` line.", "anyOf": lines}
        success.setdefault("content", {})[_STREAM] = {"schema": each}
    responses["default"] = {"$ref": "#/components/responses/Problem"}
    return operation


def _what(answer: Any) -> str:
    doc = inspect.getdoc(answer) if inspect.isclass(answer) and issubclass(answer, msgspec.Struct) else None
    return (doc or "Done.").partition("\n")[0]


def _content(media: str, struct: type[msgspec.Struct]) -> Json:
    return {media: {"schema": {"$ref": _REFERENCE.format(name=struct.__name__)}}}
