"""What a route says of itself, for the OpenAPI document: set beside the route, read from the app."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

View = TypeVar("View", bound=Callable[..., Any])

_ATTRIBUTE = "description_for_openapi"

IDEMPOTENCY_KEY = (
    "header",
    "Idempotency-Key",
    "The same key within 24 h: the same generation.",
)
LAST_EVENT_ID = ("header", "Last-Event-ID", "The cursor: the id of the last event that the client has.")
AFTER = ("query", "after", "The cursor, where the header can't be sent.")


@dataclass(frozen=True)
class Description:
    """A route's request and answers, as msgspec types.

    `answers` has the type of each status that is no problem, None where it has no body; `stream` the types of the
    `data:` lines on a 200 of `text/event-stream`. Every problem is a `ProblemBody`, and need not be said. A parameter
    is where it stands, its name, and what it is.
    """

    answers: Mapping[int, Any] = field(default_factory=dict[int, Any])
    body: Any = None
    stream: tuple[Any, ...] = ()
    parameters: tuple[tuple[str, str, str], ...] = ()
    media: str = "application/json"


def described(description: Description) -> Callable[[View], View]:
    """Have a view say what it takes and gives."""

    def describe(view: View) -> View:
        setattr(view, _ATTRIBUTE, description)
        return view

    return describe


def description_of(view: Callable[..., Any]) -> Description | None:
    """Return what a view says of itself, None where it says nothing."""
    return cast("Description | None", getattr(view, _ATTRIBUTE, None))
