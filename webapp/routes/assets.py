"""The route of the page's libraries, which `millrace-assets` has installed."""

from collections.abc import Iterable
from functools import cache
from pathlib import Path, PurePosixPath

from flask import Blueprint, Response, send_from_directory
from werkzeug.exceptions import NotFound

from millrace.webapp.assets.installation import location
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.worker.observability.logs import get_logger

# Python's own table depends on its version and on files of the machine, and browsers run no module of another type.
TYPES = {
    "": "text/plain",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
}
FRESH_SECONDS = 600  # an address stays the same when a release brings another version of its package

routes = Blueprint("assets", __name__, url_prefix="/static/assets")

_log = get_logger(__name__)
_location = cache(location)


@routes.get("/<path:name>", endpoint="static")
def get_asset(name: str) -> Response:
    """Return a file of a library; raises Problem 404, also where the libraries are not installed.

    They are looked for at each request, so that a running server serves them once they are installed.
    """
    directory = _location(Path(services().settings.http.assets_directory))
    kind = TYPES.get(PurePosixPath(name).suffix)
    try:
        if kind is None:
            raise NotFound
        # Release and address together identify the content, also on another machine with other times of its files.
        response = send_from_directory(directory, name, mimetype=kind, etag=directory.name, max_age=FRESH_SECONDS)
    except NotFound as error:
        if not directory.is_dir():
            _report_missing(directory)
        raise Problem(404, "not_found", "File not found.") from error
    return response


def installed(paths: Iterable[str]) -> list[str]:
    """Return those of the paths, relative to `static`, whose library is installed."""
    directory = _location(Path(services().settings.http.assets_directory))
    return [path for path in paths if (directory / path.removeprefix("assets/")).is_file()]


@cache  # once in a process, not at each visit of the page
def _report_missing(directory: Path) -> None:
    _log.warning(
        "assets_missing", directory=str(directory), effect="the page shows plain text", remedy="millrace-assets"
    )
