"""Every other path below `/v1`: OpenAI's 404, or its 405 where the path has other methods."""

from flask import Blueprint, Response, current_app, request
from werkzeug.exceptions import HTTPException

from millrace.webapp import problems
from millrace.webapp.facades.openai import errors, sdk_headers
from millrace.webapp.generation.validation import MAX_ECHO_CHARS
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem

_METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")

routes = Blueprint("openai_unknown_paths", __name__, url_prefix="/v1")
problems.install(routes, errors.render)
sdk_headers.install(routes)


@routes.route("/<path:rest>", methods=_METHODS)
@limited("public")
@described(Description(problem=errors.ErrorBody))
def reject_unknown_path(rest: str) -> Response:
    """Reject a path or a method of OpenAI's API that this server does not have."""
    called = f"{request.method} /v1/{rest[:MAX_ECHO_CHARS]}"
    allowed = [method for method in _METHODS if _is_served(method)]
    if allowed:
        detail = f"Not allowed: {called}. This path takes {', '.join(allowed)}."
        raise Problem(405, "method_not_allowed", detail, headers={"Allow": ", ".join(allowed)})
    raise Problem(404, "unknown_url", f"Invalid URL ({called}).")


def _is_served(method: str) -> bool:
    """Return whether another route takes this method at the request's path."""
    try:
        rule, _ = current_app.url_map.bind_to_environ(request.environ).match(method=method, return_rule=True)
    except HTTPException:
        return False
    return rule.endpoint != request.endpoint
