"""The scripts that the page imports, so that its document can name all of them and the browser fetches them at once."""

import re
from functools import cache
from pathlib import Path, PurePosixPath

LIBRARIES = ("assets/marked/lib/marked.esm.js", "assets/remend/dist/index.js")
"""The libraries that each answer needs, where `millrace-assets` has installed them."""

_STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r"""^(?:import|export)\b[^;"']*["'](\.[^"']+)["'];$""", re.MULTILINE)


@cache
def preloads(entry: str) -> tuple[str, ...]:
    """Return the modules that the entry imports, directly or not, as paths below `static`, sorted.

    A browser learns of a module's imports only when it has read it: without this each level costs a round trip.
    """
    found: set[str] = set()
    waiting = [PurePosixPath(entry)]
    while waiting:
        importer = waiting.pop()
        text = (_STATIC / importer).read_text("utf-8")
        for address in _IMPORT.findall(text):
            path = (_STATIC / importer.parent / address).resolve().relative_to(_STATIC.resolve()).as_posix()
            if path not in found:
                found.add(path)
                waiting.append(PurePosixPath(path))
    return tuple(sorted(found))
