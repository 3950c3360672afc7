"""The two documents: the page for people, and the OpenAPI document for tools."""

from typing import Any

from flask import Blueprint, Response, current_app, jsonify, make_response, render_template

from millrace.webapp.guard.auth import renew_cookie
from millrace.webapp.guard.limits import limited
from millrace.webapp.mounts import current_mount
from millrace.webapp.openapi.document import Description, build_document, described
from millrace.webapp.preloads import LIBRARIES, preloads
from millrace.webapp.routes.assets import installed
from millrace.webapp.routes.files import entry, version
from millrace.webapp.services import services

PAGE = "page.js"

routes = Blueprint("documents", __name__)


@routes.get("/")
@limited("public")
@described(Description(answers={200: str}, media="text/html"))
def get_page() -> Response:
    """Return the page; a visitor who has asked before gets the cookie again, so that it lasts a year more.

    Its addresses are relative: a proxy may serve it below a path that this server does not know.
    """
    renew_cookie()
    script = entry(PAGE)
    scripts = preloads(PAGE) if script == PAGE else ()
    response = make_response(
        render_template(
            "millrace.html",
            version=version(),
            script=script,
            preloads=(*scripts, *installed(LIBRARIES)),
            has_beacon=services().settings.http.beacon,
        )
    )
    response.headers["Cache-Control"] = "no-cache"
    return response


@routes.get("/api/openapi.json")
@limited("public")
@described(Description(answers={200: dict[str, Any]}))
def get_openapi() -> Response:
    """Return this document."""
    response = jsonify(build_document(current_app, current_mount()))
    response.headers["Cache-Control"] = "no-cache"
    return response
