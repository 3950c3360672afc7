"""POST /api/beacon: how long an answer took and was visible, counted without saying whose or which it was."""

from typing import Annotated, Literal

import msgspec
from flask import Blueprint, Response, request

from millrace.webapp.generation.validation import convert
from millrace.webapp.guard.limits import limited
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.request_input import read_object
from millrace.webapp.services import services

MAX_BODY_BYTES = 1024
_MAX_SECONDS = 86_400

Seconds = Annotated[float, msgspec.Meta(ge=0, le=_MAX_SECONDS)]

routes = Blueprint("beacon", __name__, url_prefix="/api/beacon")


class Beacon(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One answer that a page has waited for; `left` if the page was closed before its end."""

    outcome: Literal["completed", "cancelled", "failed", "left"]
    streaming_seconds: Seconds
    visible_seconds: Seconds


@routes.post("")
@limited("public")
@described(Description(body=Beacon, answers={204: None}))
def post_beacon() -> Response:
    """Count an answer that a page has waited for; 404 unless `MILLRACE_BEACON` is on.

    Nothing is stored but three sums. A page of another site cannot send one: the body must be JSON, for which its
    browser asks first.
    """
    if not services().settings.http.beacon:
        raise Problem(404, "not_found", "This server counts no beacons (MILLRACE_BEACON).")
    beacon = convert(read_object(request, MAX_BODY_BYTES), Beacon)
    page = services().metrics.page
    page.answers.labels(beacon.outcome).inc()
    page.streaming.inc(beacon.streaming_seconds)
    page.visible.inc(min(beacon.visible_seconds, beacon.streaming_seconds))
    return Response(status=204)
