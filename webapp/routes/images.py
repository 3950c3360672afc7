"""The route of the images that are part of answers."""

import msgspec
from flask import Blueprint, Response, request

from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import owned_generation
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.services import services

FOREVER = "private, max-age=31536000, immutable"  # an image's id is a hash of its bytes

routes = Blueprint("images", __name__, url_prefix="/api/generations")


@routes.get("/<generation>/images/<image>")
@limited("read")
@described(Description(answers={200: msgspec.Raw, 304: None}, media="image/*"))
def get_image(generation: str, image: str) -> Response:
    """Return an image of an answer; raises Problem 404 if there is none, or the generation is another user's."""
    found = services().images.read(owned_generation(generation).generation, image)
    if found is None:
        raise Problem(404, "not_found", "Image not found.")
    known, data = found
    response = Response(data, content_type=f"image/{known}")
    response.headers["Cache-Control"] = FOREVER
    response.headers["Content-Disposition"] = f'inline; filename="{image}.{known}"'
    response.set_etag(image)
    return response.make_conditional(request)
