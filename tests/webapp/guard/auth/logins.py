"""A host app's login functions, for `MILLRACE_AUTH=package.module:function`."""

import asyncio
from typing import Any

from flask import Request, abort

NOT_A_FUNCTION = "x"
revoked: set[str] = set()
"""Keys that a test has revoked."""

failures: dict[str, BaseException] = {
    "key that ends the process": SystemExit(3),
    "key that cancels": asyncio.CancelledError(),
}


def by_key(request: Request) -> Any:
    """Return the owner of an API key."""
    key = request.headers.get("X-Api-Key", "")
    owners: dict[str, Any] = {"key of ada": "ada", "key of bob": 42, "key of a list": ["ada"], "key of blanks": " "}
    owners |= {"key of true": True, "key of zero": 0}
    owners |= {"key of an empty text": ""}
    if key == "key of a rejected user":
        abort(403)
    if key in failures:
        raise failures[key]
    return None if key in revoked else owners.get(key)
