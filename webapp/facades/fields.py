"""A dialect's request as one of our own: its fields renamed on the way in, and back where one is refused."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager

from millrace.webapp.problems import Problem, invalid
from millrace.webapp.request_input import Json

_ECHO = 200

Names = Mapping[str, str]
"""A dialect's fields, each with ours."""


def rename(body: Json, names: Names) -> Json:
    """Return the body in our own fields; raises Problem 422 for one that the dialect does not have."""
    for name in body:
        if name not in names:
            raise invalid(name[:_ECHO], "There is no such field.")
    return {names[name]: value for name, value in body.items()}


@contextmanager
def refusing_in(names: Names) -> Generator[None]:
    """Have every Problem name the dialect's own field."""
    try:
        yield
    except Problem as problem:
        for theirs, ours in names.items():
            if problem.members.get("field") == ours:
                problem.members["field"] = theirs
                break
        raise
