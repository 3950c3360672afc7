"""A page's place and size, as a request names them."""

import re
from collections.abc import Callable
from typing import TypeVar

from flask import request

from millrace.webapp.problems import Problem, invalid

MOST = 100
CURSOR = ("query", "cursor", "The place to go on from: `next` of the page before.")
LIMIT = ("query", "limit", f"How many at most, 1 to {MOST}.")

Page = TypeVar("Page")


def read_page(read: Callable[[str | None, int], Page], usual: int) -> Page:
    """Return what `read` gives for the request's cursor and limit; raises Problem 400 and 422."""
    limit = request.args.get("limit") or str(usual)
    if not re.fullmatch(r"[0-9]{1,3}", limit, re.ASCII) or not 1 <= int(limit) <= MOST:
        raise invalid("limit", f"A page has 1 to {MOST} items.")
    try:
        return read(request.args.get("cursor") or None, int(limit))
    except ValueError as error:
        raise Problem(400, "bad_cursor", "A cursor is what the page before gave as `next`.") from error
