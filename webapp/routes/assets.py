"""The page's libraries, which `millrace-assets` has installed."""

import os
from collections.abc import Iterable
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath

from werkzeug.security import safe_join

from millrace.webapp.assets.bundles import bundles_location
from millrace.webapp.assets.installation import location
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.webapp.static_files import Served, serve
from millrace.worker.observability.logs import get_logger

# Python's own table depends on its version and on files of the machine, and browsers run no module of another type.
TYPES = {
    "": "text/plain",
    ".css": "text/css",
    ".js": "text/javascript",
    ".mjs": "text/javascript",
    ".woff2": "font/woff2",
}
_KEPT = 400  # files, about as many as there are: 2 MB with their compressed forms

_log = get_logger(__name__)
_location = cache(location)


def library(name: str) -> tuple[Served, str]:
    """Return a file of a library with its type; raises Problem 404, also where the libraries are not installed.

    They are looked for at each request, so that a running server serves them once they are installed.
    """
    directory = _directory()
    kind = TYPES.get(PurePosixPath(name).suffix)
    path = safe_join(str(directory), name)
    if kind is None or path is None or not os.path.isfile(path):  # false, too, for a name that no file can have
        if not directory.is_dir():
            _report_missing(directory)
        raise Problem(404, "not_found", "File not found.")
    return _read(path), kind


def bundled(entry: str) -> Served | None:
    """Return an entry of the page's scripts with its imports, None where `millrace-assets` has made no bundles."""
    path = bundles_location(Path(services().settings.http.assets_directory)) / entry
    return _read(str(path)) if path.is_file() else None


def library_version() -> str:
    """Return a text that changes with any of the libraries' files."""
    return _directory().name


def installed(paths: Iterable[str]) -> list[str]:
    """Return those of the paths, relative to `static`, whose library is installed."""
    directory = _directory()
    return [path for path in paths if (directory / path.removeprefix("assets/")).is_file()]


def _directory() -> Path:
    return _location(Path(services().settings.http.assets_directory))


@lru_cache(_KEPT)  # the files of a directory never change
def _read(path: str) -> Served:
    return serve(Path(path).read_bytes())


@cache  # once in a process, not at each visit of the page
def _report_missing(directory: Path) -> None:
    _log.warning(
        "assets_missing", directory=str(directory), effect="the page shows plain text", remedy="millrace-assets"
    )
