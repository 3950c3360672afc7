"""Checks an app's real responses against its OpenAPI document."""

import re
from fnmatch import fnmatch
from functools import cached_property
from inspect import unwrap
from typing import Any, Self

from flask import Flask, Response, request
from jsonschema import Draft202012Validator

from millrace.webapp.openapi.document import build_document, description_of

Json = dict[str, Any]
_documents: dict[tuple[Any, ...], Json] = {}


class Document:
    """The document of one app, built on first use: routes may be added until then."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @classmethod
    def of(cls, app: Flask) -> Self:
        """Return the document of an app, the same object each time."""
        return app.extensions.setdefault("tested document", cls(app))

    @cached_property
    def whole(self) -> Json:
        """The document: apps with the same routes have one, because nearly every test makes an app."""
        views = self._app.view_functions
        routes = tuple(
            (each.rule, each.endpoint, frozenset(each.methods or ()), unwrap(views[each.endpoint]))
            for each in self._app.url_map.iter_rules()
            if description_of(views[each.endpoint]) is not None
        )
        if routes not in _documents:
            _documents[routes] = build_document(self._app)
        return _documents[routes]

    def check(self, schema: Json, value: Any) -> None:
        """Assert that a value matches a schema of the document; raises ValidationError."""
        validator: Any = Draft202012Validator({**schema, "components": self.whole["components"]})
        validator.validate(value)

    def check_answer(self, response: Response) -> Response:
        """Assert that a response is one that the document describes for its route; raises ValidationError."""
        rule = request.url_rule
        if response.mimetype == "application/problem+json":
            self.check({"$ref": "#/components/schemas/ProblemBody"}, response.get_json(force=True))
        elif rule is not None and request.method != "OPTIONS":
            path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)
            method = "get" if request.method == "HEAD" else request.method.lower()
            if path in self.whole["paths"]:
                self._check_described(self.whole["paths"][path][method]["responses"], response)
        return response

    def _check_described(self, responses: Json, response: Response) -> None:
        described = responses.get(str(response.status_code))
        if described is None and response.status_code >= 400:
            described = responses["default"]
            if described.get("$ref") == "#/components/responses/ProblemOrText":
                described = self.whole["components"]["responses"]["ProblemOrText"]
        assert described is not None, f"the document does not describe {response.status_code} for {request.path}"
        if response.status_code in (101, 204, 304):
            assert "content" not in described
            return
        assert any(fnmatch(response.mimetype or "", media) for media in described["content"]), (
            f"{response.mimetype} of {request.path} is not in the document"
        )
        if response.mimetype == "application/json":
            self.check(described["content"]["application/json"]["schema"], response.get_json())
