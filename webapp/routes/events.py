"""Several streams on one connection: browsers open at most six connections per host, and a page may follow more."""

from typing import NamedTuple

from flask import Blueprint, Response, request

from millrace.webapp.guard.auth import current_owner
from millrace.webapp.guard.limits import limited
from millrace.webapp.guard.ownership import (
    owned_generations_with_retry,
    resume_cursor_with_retry,
    with_redis_retry,
)
from millrace.webapp.guard.rejections import reconnects_event_sources
from millrace.webapp.openapi.document import LAST_EVENT_ID, Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.relay import ended_stream, multiplexed_stream
from millrace.webapp.relay.multiplexer import FEED
from millrace.webapp.services import services
from millrace.worker.contract.events import AnyEvent
from millrace.worker.contract.feed import FEED_START, FeedEvent, FeedPosition, end_of_feed, parse_position
from millrace.worker.contract.ids import START, Cursor, is_generation, parse_cursor


class StreamCursor(NamedTuple):
    """The cursor of one of the streams."""

    generation: str
    cursor: Cursor


routes = Blueprint("events", __name__, url_prefix="/api/events")

_PARAMETERS = (
    LAST_EVENT_ID,
    ("query", "follow", "A generation's id, or ID@CURSOR to resume it there. Repeat it to follow several."),
    (
        "query",
        "feed",
        "1 adds the owner's feed of started, ended and changed things; a feed position resumes it there.",
    ),
)


@routes.get("")
@described(Description(answers={204: None}, stream=(AnyEvent, FeedEvent), parameters=_PARAMETERS))
@limited("follow")
@reconnects_event_sources
def stream_many() -> Response:
    """Stream the events of several generations, each with its `generation`, and of the owner's feed."""
    follows, last = _parse_follows(), _parse_last_event_id()
    feed = request.args.get("feed", "")
    if not follows and feed in ("", "0"):
        raise Problem(400, "bad_follow", "Name a generation to follow with `follow`, or set `feed=1`.")
    after = dict(follows)
    if isinstance(last, StreamCursor) and last.generation in after:
        after[last.generation] = last.cursor
    states = owned_generations_with_retry(list(after)) if after else []
    owner = current_owner()
    if owner is None:  # a client without a cookie has no feed, and gets none by asking
        return ended_stream()
    followed = [(state, resume_cursor_with_retry(state, after[state.generation])) for state in states]
    feed_start = None if feed in ("", "0") else (owner, _feed_start(owner, feed, last))
    return multiplexed_stream(services().hub, request.environ, followed, feed_start)


def _parse_follows() -> list[tuple[str, Cursor]]:
    """Return the generations in the query, each with its cursor; raises Problem 400."""
    names = request.args.getlist("follow")
    most = services().settings.relay.max_follows
    if len(names) > most:
        raise Problem(400, "bad_follow", f"One connection can follow at most {most} generations.")
    follows = [
        (name, _parse_cursor(text) if at else START) for name, at, text in (each.partition("@") for each in names)
    ]
    if len({generation for generation, _ in follows}) < len(follows):
        raise Problem(400, "bad_follow", "`follow` names the same generation more than once.")
    return follows


def _parse_last_event_id() -> StreamCursor | FeedPosition | None:
    """Return the stream or the feed position that Last-Event-ID resumes, None without it; raises Problem 400."""
    text = request.headers.get("Last-Event-ID", "")
    if not text:
        return None
    name, _, cursor = text.partition("@")
    if name == FEED:
        return _parse_position(cursor)
    if not is_generation(name):
        raise _bad_cursor()
    return StreamCursor(name, _parse_cursor(cursor))


def _parse_cursor(text: str) -> Cursor:
    cursor = parse_cursor(text)
    if cursor is None:
        raise _bad_cursor()
    return cursor


def _parse_position(text: str) -> FeedPosition:
    position = parse_position(text)
    if position is None:
        raise _bad_cursor()
    return position


def _feed_start(owner: str, text: str, last: StreamCursor | FeedPosition | None) -> FeedPosition:
    """Return the position to start after.

    A client that reconnects with the cursor of another stream may have missed feed events, and it is unknown how many:
    it gets all that are stored.
    """
    if isinstance(last, FeedPosition):
        return last
    if text != "1":
        return _parse_position(text)
    if last is not None:
        return FEED_START
    return with_redis_retry(lambda: end_of_feed(services().redis, owner))


def _bad_cursor() -> Problem:
    detail = (
        "Invalid cursor. Use the id of an event of this stream, ID@1-5 or feed@1-5; "
        "`feed` takes 1 or a position such as 1-5."
    )
    return Problem(400, "bad_cursor", detail)
