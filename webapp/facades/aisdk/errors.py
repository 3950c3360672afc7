"""Errors for the SDK's client: it shows the text of a rejected request's response as `error.message`."""

from flask import Response, g, request

from millrace.webapp.problems import Problem

SDK_PARAMETER = "sdk"
SDK_VERSION = (
    "query",
    SDK_PARAMETER,
    "The version of the AI SDK: 7, or any other value for one that does not know the part `reset-step`.",
)

_MARK = "millrace_is_ai_sdk"


def expect_sdk() -> None:
    """Note that the current request has turned out to be the SDK's."""
    setattr(g, _MARK, True)


def is_sdk_expected() -> bool:
    """Return whether the current request is known to be the SDK's, by its body or by its query."""
    return _MARK in g or SDK_PARAMETER in request.args


def text_of_problem(problem: Problem) -> Response:
    """Return a problem as plain text, which begins with the name of the invalid field, if there is one."""
    field = problem.members.get("field")
    response = problem.response()
    text = f"{field}: {problem.detail}" if field else problem.detail
    response.set_data(text.encode("utf-8", "backslashreplace"))  # a field's name may hold half of a surrogate pair
    response.content_type = "text/plain; charset=utf-8"
    return response


def render_problem(problem: Problem) -> Response:
    """Return a problem of `/api/chat`, which another protocol shares, in the form that the request's client reads."""
    return text_of_problem(problem) if is_sdk_expected() else problem.response()
