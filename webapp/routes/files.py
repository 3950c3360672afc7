"""The routes of the page's files and of its libraries, at addresses that name their version, and at plain ones.

The content at an address with the version never changes, so browsers keep it for a year and ask no more; the document
names these only. The plain addresses are for other people's pages and programs, and are revalidated at each visit.
"""

import hashlib
import re
from functools import cache
from pathlib import PurePosixPath

from flask import Blueprint, Response, request

from millrace.webapp.assets.bundles import ENTRIES
from millrace.webapp.problems import Problem
from millrace.webapp.routes.assets import bundled, library, library_version
from millrace.webapp.static_files import TYPES, Served, page_files, serve

IMMUTABLE = "public, max-age=31536000, immutable"
_LIBRARIES = "assets/"
_LIBRARY_SECONDS = 600  # a plain address stays the same when a release brings another version of its package
_BUNDLES = "bundle/"
_EMBEDDED = "widget.js"
_CLIENT = "client.js"
_VERSIONED = re.compile(r"([0-9a-f]{16})/(.+)")

routes = Blueprint("files", __name__, url_prefix="/static")


@routes.get("/<path:name>", endpoint="static")
def get_file(name: str) -> Response:
    """Return a file; raises Problem 404."""
    found = _VERSIONED.fullmatch(name)
    path = found[2] if found else name
    served, kind = _find(path)
    # While servers of two versions run, one may be asked for the other's files: nobody keeps what it sends then.
    if found and found[1] != version():
        return _respond(served, kind, "no-store")
    if found:
        return _respond(served, kind, IMMUTABLE)
    if path == _EMBEDDED:
        return _respond(_embedding(f"./{version()}/{entry(_EMBEDDED)}"), kind, "no-cache")
    if path == _CLIENT:
        return _respond(bundled(_CLIENT) or served, kind, "no-cache")
    return _respond(served, kind, f"public, max-age={_LIBRARY_SECONDS}" if path.startswith(_LIBRARIES) else "no-cache")


def version() -> str:
    """Return the part of the addresses that changes with any of the files."""
    return _version(page_files().version(), library_version())


def entry(name: str) -> str:
    """Return the path below the version of an entry of the page's scripts: its bundle's, where there is one."""
    return f"{_BUNDLES}{name}" if bundled(name) else name


@cache
def _version(own: str, libraries: str) -> str:
    return hashlib.sha256(f"{own} {libraries}".encode()).hexdigest()[:16]


def _find(path: str) -> tuple[Served, str]:
    if path.startswith(_LIBRARIES):
        return library(path.removeprefix(_LIBRARIES))
    bundle = path.removeprefix(_BUNDLES)
    served = (bundled(bundle) if bundle in ENTRIES else None) if bundle != path else page_files().get(path)
    if served is None:
        raise Problem(404, "not_found", "File not found.")
    return served, TYPES[PurePosixPath(path).suffix]


@cache
def _embedding(address: str) -> Served:
    """Return the module at the widget's plain address: a return visit revalidates it alone, not all of its imports."""
    return serve(f'export * from "{address}";\n'.encode())


def _respond(served: Served, kind: str, caching: str) -> Response:
    is_compressed = served.compressed is not None and request.accept_encodings.quality("gzip") > 0
    response = Response(served.compressed if is_compressed else served.body, mimetype=kind)
    response.headers["Cache-Control"] = caching
    response.set_etag(f"{served.etag}-gzip" if is_compressed else served.etag)
    if served.compressed is not None:
        response.vary.add("Accept-Encoding")
    if is_compressed:
        response.headers["Content-Encoding"] = "gzip"
    return response.make_conditional(request)
