"""Holds what an app really answers to what its OpenAPI document says of it."""

import re
from functools import cached_property
from typing import Any, Self

from flask import Flask, Response, request
from jsonschema import Draft202012Validator

from millrace.webapp.openapi.document import build_document

Json = dict[str, Any]


class Document:
    """The document of one app, built when it is first needed: routes may be added until then."""

    def __init__(self, app: Flask) -> None:
        self._app = app

    @classmethod
    def of(cls, app: Flask) -> Self:
        """Return the document of an app, always the same."""
        return app.extensions.setdefault("tested document", cls(app))

    @cached_property
    def whole(self) -> Json:
        """The document."""
        return build_document(self._app)

    def check(self, schema: Json, value: Any) -> None:
        """Assert that a value is as a schema of the document says; raises ValidationError."""
        validator: Any = Draft202012Validator({**schema, "components": self.whole["components"]})
        validator.validate(value)

    def check_answer(self, response: Response) -> Response:
        """Assert that an answer is one that the document tells of its route; raises ValidationError."""
        rule = request.url_rule
        if response.mimetype == "application/problem+json":
            self.check({"$ref": "#/components/schemas/ProblemBody"}, response.get_json(force=True))
        elif rule is not None and request.method != "OPTIONS":
            path = re.sub(r"<(?:[a-z]+:)?([a-z_]+)>", r"{\1}", rule.rule)
            method = "get" if request.method == "HEAD" else request.method.lower()
            if path in self.whole["paths"]:
                self._check_success(self.whole["paths"][path][method]["responses"], response)
        return response

    def _check_success(self, responses: Json, response: Response) -> None:
        told = responses.get(str(response.status_code))
        assert told is not None, f"the document does not tell of {response.status_code} for {request.path}"
        if response.status_code == 204:
            assert "content" not in told
            return
        assert response.mimetype in told["content"], f"{response.mimetype} of {request.path} is not in the document"
        if response.mimetype == "application/json":
            self.check(told["content"]["application/json"]["schema"], response.get_json())
