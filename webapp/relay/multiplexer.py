"""Several streams on one connection: a trunk, which is written to, and a branch for each stream that it carries.

A branch follows its tail as any reader does; what it takes it puts on the trunk, under its stream's name. When the
trunk is full, so are the branches that had something for it; when it has room again they go on, in turn.
"""

from collections.abc import Sequence
from typing import NamedTuple

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.relay.feeds import Feeds
from millrace.webapp.relay.frames import Frame, chunked, entry_in, join
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import Reader, Why
from millrace.webapp.relay.socket_reader import write_nothing
from millrace.worker.contract.feed import FeedEntry, FeedPosition
from millrace.worker.contract.ids import Cursor

FEED = "feed"  # in an event's id, in the place of a generation's
_NO_HURRY = b"retry: 60000\n\n"  # an EventSource that nobody closes comes back, and is given again what it has


class Followed(NamedTuple):
    """A generation to follow after the cursor."""

    generation: str
    after: Cursor
    cancels_unwatched: bool


class Multiplexer:
    """A connection and what it carries: it ends with the last of its branches, unless it carries a feed as well."""

    def __init__(
        self, hub: Hub, trunk: Reader, followed: Sequence[Followed], feed: tuple[str, FeedPosition] | None
    ) -> None:
        self._hub = hub
        self._trunk = trunk
        self._branches = {SubStream(self, each) for each in followed}
        self._waiting: dict[SubStream | FeedSubStream, None] = {}
        self._feed = FeedSubStream(self, hub.feeds, *feed) if feed is not None else None

    @property
    def is_full(self) -> bool:
        """Whether the connection takes nothing for now."""
        return self._trunk.is_full

    def begin(self, right: Authorization | None) -> None:
        """Let everything flow, for as long as the right holds; returns at once, whatever Redis does."""
        self._trunk.host = self
        self._hub.carry(self._trunk, right)
        if self._feed is not None and not self._trunk.ended_because:
            self._hub.feeds.follow(self._feed)
        for branch in tuple(self._branches):
            if not branch.ended_because:  # the whole may end while its parts are begun with
                self._hub.follow(branch, cancels_unwatched=branch.cancels_unwatched)

    def put(self, frames: list[Frame]) -> int:
        """Put frames on the trunk, and return how many it has taken."""
        return self._trunk.take(frames, join(frames))

    def wait(self, branch: "SubStream | FeedSubStream") -> None:
        """Have a branch go on once there is room."""
        self._waiting[branch] = None

    def over(self, branch: "SubStream") -> None:
        """Hear that all of a branch's stream has been taken."""
        self._branches.discard(branch)
        if not self._branches and self._feed is None:
            self._trunk.finish("done", _NO_HURRY)

    def finish(self, why: Why, last_words: bytes) -> None:
        """End the whole connection as soon as what was taken is out."""
        self._trunk.finish(why, last_words)

    def resume(self, _trunk: Reader) -> None:
        """Go on with those who wait for room, the longest waiting first."""
        while self._waiting and not self._trunk.is_full and not self._trunk.ended_because:
            branch = next(iter(self._waiting))
            del self._waiting[branch]
            branch.go_on()

    def remove(self, trunk: Reader) -> None:
        """Let go of everything: the connection is closed."""
        self._waiting.clear()
        branches, self._branches = self._branches, set()
        for branch in branches:
            branch.close(trunk.ended_because or "client_left")
        if self._feed is not None:
            self._hub.feeds.leave(self._feed)
        self._hub.drop(trunk)


class SubStream(Reader):
    """A reader of one generation's stream, which passes on what it takes."""

    __slots__ = ("_bundle", "_name", "cancels_unwatched")

    def __init__(self, bundle: Multiplexer, followed: Followed) -> None:
        super().__init__(followed.generation, followed.after)
        self.write = write_nothing
        self.cancels_unwatched = followed.cancels_unwatched
        self._bundle = bundle
        self._name = followed.generation.encode()

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Put the frames on the trunk, named; what it does not take comes again."""
        taken = self._bundle.put([self._named(frame) for frame in frames])
        if taken < len(frames):
            self.is_full = True
            self._bundle.wait(self)
        return taken

    def go_on(self) -> None:
        """Take again, there is room."""
        self.is_full = False
        self.host.resume(self)

    def finish(self, why: Why, last_words: bytes = b"") -> None:
        """End with the stream, or have the whole connection end."""
        if self.ended_because:
            return
        if why != "done":
            self._bundle.finish(why, last_words)
            return
        self.close(why)
        self._bundle.over(self)

    def close(self, why: Why) -> None:
        """Stop following; the connection goes on."""
        if not self.ended_because:
            self.ended_because = why
            self.host.remove(self)

    def cut(self) -> None:
        """Leave it to the trunk: only the trunk can tell that the client takes nothing."""

    def _named(self, frame: Frame) -> Frame:
        entry = entry_in(frame)
        # The first event of each log names its generation by itself.
        name = b"" if _names_itself(entry.data) else b'"generation":"%b",' % self._name
        return chunked(b"id: %b@%d-%d\ndata: {%b%b\n\n" % (self._name, *entry.cursor, name, entry.data[1:]))


class FeedSubStream:
    """A follower of an owner's feed."""

    def __init__(self, bundle: Multiplexer, feeds: Feeds, owner: str, after: FeedPosition) -> None:
        self.owner = owner
        self.place = after
        self._bundle = bundle
        self._feeds = feeds

    @property
    def is_full(self) -> bool:
        """Whether it takes nothing for now."""
        return self._bundle.is_full

    def give(self, entries: list[FeedEntry]) -> None:
        """Take as many as there is room for; `place` says how far that was."""
        frames = [
            chunked(b"id: %b@%d-%d\ndata: %b\n\n" % (FEED.encode(), *each.position, each.data)) for each in entries
        ]
        taken = self._bundle.put(frames)
        if taken:
            self.place = entries[taken - 1].position
        if self._bundle.is_full:
            self._bundle.wait(self)

    def go_on(self) -> None:
        """Have the feed read on, there is room."""
        self._feeds.wake(self.owner)


def _names_itself(data: bytes) -> bool:
    return data.startswith(b'{"type":"status","status":"queued"') and b'"generation":' in data
