"""Many streams on one connection: a browser has six of them for a host, and a page may have more to follow."""

from typing import NamedTuple

from flask import Blueprint, Response, request

from millrace.webapp.generation.resuming import resumed
from millrace.webapp.guard.auth import ensure_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import owned_generations_with_retry, with_redis_retry
from millrace.webapp.openapi.describing import LAST_EVENT_ID, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.relay import many_streams
from millrace.webapp.relay.multiplexer import FEED
from millrace.webapp.services import services
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import FEED_START, FeedEvent, FeedPosition, end_of_feed, parse_position
from millrace.worker.contract.ids import START, Cursor, is_id, parse_cursor


class StreamCursor(NamedTuple):
    """A stream that goes on from a cursor."""

    generation: str
    cursor: Cursor


routes = Blueprint("events", __name__, url_prefix="/api/events")

_PARAMETERS = (
    LAST_EVENT_ID,
    ("query", "follow", "A generation's id, or ID@CURSOR to follow it from there on; as often as needed."),
    ("query", "feed", "1: what starts, ends and changes from now on, too; or from a place in the feed on."),
)


@routes.get("")
@described(Description(answers={204: None}, stream=(AnyEvent, FeedEvent), parameters=_PARAMETERS))
@limited("follow")
def stream_many() -> Response:
    """Return the events of several generations, each with its `generation`, and of the owner's feed."""
    follows, moved = _follows(), _moved()
    feed = request.args.get("feed", "")
    if not follows and feed in ("", "0"):
        raise Problem(400, "bad_follow", "`follow` names a generation to follow; `feed=1` follows what changes.")
    after = dict(follows)
    if isinstance(moved, StreamCursor) and moved.generation in after:
        after[moved.generation] = moved.cursor
    states = owned_generations_with_retry(list(after)) if after else []
    followed = [(state, resumed(state, after[state.generation])) for state in states]
    place = None if feed in ("", "0") else _feed_from(feed, moved)
    return many_streams(services().hub, request.environ, followed, place)


def _follows() -> list[tuple[str, Cursor]]:
    """Return what is to be followed, and from where by the address; raises Problem 400."""
    names = request.args.getlist("follow")
    most = services().settings.relay.max_follows
    if len(names) > most:
        raise Problem(400, "bad_follow", f"One connection follows at most {most} generations.")
    follows = [(name, _cursor(text) if at else START) for name, at, text in (each.partition("@") for each in names)]
    if len({generation for generation, _ in follows}) < len(follows):
        raise Problem(400, "bad_follow", "`follow` names each generation once.")
    return follows


def _moved() -> StreamCursor | FeedPosition | None:
    """Return where the last event's id moves one of the streams, or the feed, on to; raises Problem 400."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return None
    name, _, cursor = text.partition("@")
    if name == FEED:
        return _place(cursor)
    if not is_id(name):
        raise _bad_cursor()
    return StreamCursor(name, _cursor(cursor))


def _cursor(text: str) -> Cursor:
    cursor = parse_cursor(text)
    if cursor is None:
        raise _bad_cursor()
    return cursor


def _place(text: str) -> FeedPosition:
    place = parse_position(text)
    if place is None:
        raise _bad_cursor()
    return place


def _feed_from(text: str, moved: StreamCursor | FeedPosition | None) -> tuple[str, FeedPosition]:
    """Return whose feed, and from where on.

    Who comes back with another stream's cursor has missed nobody knows how much of it, and gets all that is kept.
    """
    owner = ensure_owner()
    if isinstance(moved, FeedPosition):
        return owner, moved
    if text != "1":
        return owner, _place(text)
    if moved is not None:
        return owner, FEED_START
    return owner, with_redis_retry(lambda: end_of_feed(services().redis, owner))


def _bad_cursor() -> Problem:
    detail = (
        "A cursor here is the id of an event of this stream, ID@1-5 or feed@1-5; `feed` takes 1, or what follows its @."
    )
    return Problem(400, "bad_cursor", detail)
