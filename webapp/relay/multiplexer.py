"""Several streams on one connection.

A sub-stream follows its tail as any reader does, and writes the frames it accepts to the connection, with its
generation's id in them. When the connection is full, so are the sub-streams that had frames for it; when it has room
again, they continue in turn.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.guard.client import Client
from millrace.webapp.relay.feeds import Feeds
from millrace.webapp.relay.frames import Frame, body_of, chunked, join, last_frame
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import EndReason, Reader, write_nothing
from millrace.worker.contract.feed import FeedEntry, FeedPosition
from millrace.worker.contract.ids import Cursor

FEED = "feed"  # takes the place of a generation's id in the id of an event


class FollowedGeneration(NamedTuple):
    """A generation to follow after a cursor."""

    generation: str
    after: Cursor
    cancels_unwatched: bool


class NamedFrames:
    """The frames of generations in the form that contains the generation's id.

    Sub-streams that get the same frames, one after the other, share what is rendered.
    """

    def __init__(self, render: Callable[[bytes, Frame], bytes]) -> None:
        self._render = render
        self._frames: Sequence[Frame] = ()
        self._named: list[Frame] = []

    def of(self, generation: bytes, frames: Sequence[Frame]) -> list[Frame]:
        """Return the frames of a generation, each with its id."""
        if frames is not self._frames:
            render = self._render
            self._named = [Frame(each.epoch, each.seq, render(generation, each), each.is_done) for each in frames]
            self._frames = frames
        return self._named


class Multiplexer:
    """A connection and its sub-streams: it ends with the last of them, unless it carries a feed or `is_lasting`."""

    def __init__(
        self,
        hub: Hub,
        connection: Reader,
        followed: Sequence[FollowedGeneration] = (),
        feed: tuple[str, FeedPosition] | None = None,
        *,
        named: NamedFrames | None = None,
        is_lasting: bool = False,
    ) -> None:
        self.named = named or _EVENTS
        self._hub = hub
        self._connection = connection
        self._client: Client | None = None
        self._sub_streams = {each.generation: SubStream(self, each) for each in followed}
        self._waiting: dict[SubStream | FeedSubStream, None] = {}
        self._feed = FeedSubStream(self, hub.feeds, *feed) if feed is not None else None
        self._is_lasting = is_lasting or feed is not None

    @property
    def is_full(self) -> bool:
        """Whether the connection accepts nothing for now."""
        return self._connection.is_full

    def start(self, authorization: Authorization | None, client: Client | None) -> None:
        """Start all sub-streams, while the authorization is valid; returns at once, whatever state Redis is in.

        The connection and each of its sub-streams hold a place of the client.
        """
        self._connection.source = self
        self._client = client
        self._hub.add_connection(self._connection, authorization, client)
        if self._feed is not None and not self._connection.end_reason:
            self._hub.feeds.follow(self._feed)
        for sub_stream in tuple(self._sub_streams.values()):
            self._start(sub_stream)

    @property
    def followed(self) -> frozenset[str]:
        """The generations that are followed."""
        return frozenset(self._sub_streams)

    def follow(self, followed: FollowedGeneration) -> None:
        """Follow one more generation, from its cursor on also where it is followed already; returns at once."""
        self.unfollow(followed.generation)
        if not self._connection.end_reason:
            sub_stream = self._sub_streams[followed.generation] = SubStream(self, followed)
            self._start(sub_stream)

    def unfollow(self, generation: str) -> bool:
        """Stop following a generation, and return whether it was followed; the connection stays open."""
        sub_stream = self._sub_streams.pop(generation, None)
        if sub_stream is None:
            return False
        self._waiting.pop(sub_stream, None)
        sub_stream.close("client_left")
        return True

    def write(self, frames: list[Frame]) -> int:
        """Write frames to the connection, and return how many it has accepted."""
        return self._connection.take(frames, join(frames))

    def wait_for_room(self, sub_stream: "SubStream | FeedSubStream") -> None:
        """Resume a sub-stream once the connection has room."""
        self._waiting[sub_stream] = None

    def end_sub_stream(self, sub_stream: "SubStream") -> None:
        """Remove a sub-stream whose last frame was accepted."""
        self._sub_streams.pop(sub_stream.generation, None)
        if not self._sub_streams and not self._is_lasting:
            self._connection.finish("done", last_frame())

    def finish(self, why: EndReason, last_bytes: bytes) -> None:
        """End the whole connection once the accepted frames are out."""
        self._connection.finish(why, last_bytes)

    def resume(self, _connection: Reader) -> None:
        """Resume the sub-streams that wait for room, the longest waiting first."""
        while self._waiting and not self._connection.is_full and not self._connection.end_reason:
            sub_stream = next(iter(self._waiting))
            del self._waiting[sub_stream]
            sub_stream.resume()

    def remove(self, connection: Reader) -> None:
        """Close all sub-streams, because the connection is closed."""
        self._waiting.clear()
        sub_streams, self._sub_streams = self._sub_streams, {}
        for sub_stream in sub_streams.values():
            sub_stream.close(connection.end_reason or "client_left")
        if self._feed is not None:
            self._hub.feeds.unfollow(self._feed)
        self._hub.remove_connection(connection)

    def _start(self, sub_stream: "SubStream") -> None:
        if not sub_stream.end_reason:  # the connection may end while its sub-streams are being started
            self._hub.follow(sub_stream, cancels_unwatched=sub_stream.cancels_unwatched, client=self._client)


class SubStream(Reader):
    """A reader of one generation's log that writes its frames to a shared connection."""

    __slots__ = ("_multiplexer", "_name", "cancels_unwatched")

    def __init__(self, multiplexer: Multiplexer, followed: FollowedGeneration) -> None:
        super().__init__(followed.generation, followed.after)
        self.write = write_nothing
        self.cancels_unwatched = followed.cancels_unwatched
        self._multiplexer = multiplexer
        self._name = followed.generation.encode()

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Write the frames to the connection, each with the generation's id; frames it rejects are offered again."""
        taken = self._multiplexer.write(self._multiplexer.named.of(self._name, frames))
        if taken < len(frames):
            self.is_full = True
            self._multiplexer.wait_for_room(self)
        return taken

    def resume(self) -> None:
        """Accept frames again: the connection has room."""
        self.is_full = False
        self.source.resume(self)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End this sub-stream after its log's end; end the whole connection for any other reason."""
        if self.end_reason:
            return
        if why != "done":
            self._multiplexer.finish(why, last_bytes)
            return
        self.close(why)
        self._multiplexer.end_sub_stream(self)

    def close(self, why: EndReason) -> None:
        """Stop following; the connection stays open."""
        if not self.end_reason:
            self.end_reason = why
            self.source.remove(self)

    def cut(self) -> None:
        """Do nothing: only the connection shows whether the client has stalled."""


class FeedSubStream:
    """A follower of an owner's feed that writes its entries to a shared connection."""

    def __init__(self, multiplexer: Multiplexer, feeds: Feeds, owner: str, after: FeedPosition) -> None:
        self.owner = owner
        self.position = after
        self._multiplexer = multiplexer
        self._feeds = feeds

    @property
    def is_full(self) -> bool:
        """Whether it accepts nothing for now."""
        return self._multiplexer.is_full

    def take(self, entries: list[FeedEntry]) -> None:
        """Write as many entries as there is room for, and advance `position` by those."""
        frames = [
            Frame(*entry.position, chunked(body_of(b"%b@%d-%d" % (FEED.encode(), *entry.position), entry.data)))
            for entry in entries
        ]
        taken = self._multiplexer.write(frames)
        if taken:
            self.position = entries[taken - 1].position
        if self._multiplexer.is_full:
            self._multiplexer.wait_for_room(self)

    def resume(self) -> None:
        """Have the feed read on: the connection has room."""
        self._feeds.request_read(self.owner)


def _render_event(generation: bytes, frame: Frame) -> bytes:
    data = frame.data
    # The first event of each log already contains its generation.
    name = b"" if _contains_generation(data) else b'"generation":"%b",' % generation
    event_id = b"%b@%d-%d" % (generation, frame.epoch, frame.seq)
    return chunked(body_of(event_id, b"{%b%b" % (name, data[1:])))


def _contains_generation(data: bytes) -> bool:
    return data.startswith(b'{"type":"status","status":"queued"') and b'"generation":' in data


_EVENTS = NamedFrames(_render_event)
