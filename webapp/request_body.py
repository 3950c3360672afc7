"""A request's JSON body, parsed: an object, or the refusal that says why it is none."""

import json
from math import isinf
from typing import Any, NoReturn, cast

from flask import Request

from millrace.webapp.problems import Problem

Json = dict[str, Any]


def read_object(request: Request, most_bytes: int) -> Json:
    """Return the body's object; raises Problem 400, 413, 415.

    Lone surrogates pass: they are in people's texts. The standard parser is used for their sake.
    """
    if request.mimetype != "application/json":
        raise Problem(415, "unsupported_media_type", "The body must be JSON: Content-Type: application/json.")
    # One more than may be: a body that does not say its length is cut there without a word.
    request.max_content_length = most_bytes + 1
    is_too_large = (request.content_length or 0) > most_bytes
    raw = b"" if is_too_large else request.get_data(cache=False)
    if is_too_large or len(raw) > most_bytes:
        raise Problem(413, "too_large", f"The body has more than {most_bytes} bytes.")
    try:
        parsed: Any = json.loads(raw.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_finite)
    except (ValueError, RecursionError) as error:  # nested too deeply is not a server's error
        raise Problem(400, "malformed", "The body is not JSON that this server takes.") from error
    if not isinstance(parsed, dict):
        raise Problem(400, "malformed", "The body must be a JSON object.")
    return cast("Json", parsed)


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):  # 1e400 is JSON, and no number that could be kept or told again
        raise ValueError("a number is too large")
    return number


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
