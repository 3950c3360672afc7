"""The page: a box, an answer that streams, a button that stops it."""

from flask import Blueprint, Response, make_response, render_template

from millrace.webapp.guard.auth import renew_cookie
from millrace.webapp.openapi.describing import Description, described

routes = Blueprint("page", __name__)


@routes.get("/")
@described(Description(answers={200: str}, media="text/html"))
def get_page() -> Response:
    """Return the page, and with it the cookie by which its reader is known from then on."""
    renew_cookie()
    response = make_response(render_template("millrace.html"))
    response.headers["Cache-Control"] = "no-cache"
    return response
