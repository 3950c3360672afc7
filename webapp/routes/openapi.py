"""Where the OpenAPI document is served."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify

from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.openapi.document import build_document

routes = Blueprint("openapi", __name__, url_prefix="/api")


@routes.get("/openapi.json")
@described(Description(answers={200: dict[str, Any]}))
def get_openapi() -> Response:
    """Return this document."""
    response = jsonify(build_document(current_app))
    response.headers["Cache-Control"] = "no-cache"
    return response
