"""Logs rendered in other protocols: each event is rendered once for all the readers of a dialect in this process.

A rendering follows its log from the first event on, as any reader does. It appends the frames that it makes of the
events to a tail of its own, which delivers them to the clients as the log's tail delivers ours. The frames are numbered
from 1 on; they are a function of the log alone, so a client can go on after the same number in any process. A client
whose next frame is no longer in the buffer gets a replay: a rendering for itself alone, until it has caught up.

A replay costs memory of its own, for all the text up to its place. A rendering therefore keeps the more frames the more
clients share it, and all the last ones, which repeat the whole text in some protocols.
"""

from collections import deque
from collections.abc import Callable, Hashable, Sequence
from itertools import islice
from typing import NamedTuple, Protocol

from millrace.webapp.guard.auth.protocol import Authorization
from millrace.webapp.guard.client import Client
from millrace.webapp.relay.frames import Frame, chunked, join
from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.reader import EndReason, Reader, write_nothing
from millrace.webapp.relay.tail import Tail
from millrace.worker.contract.events import SNAPSHOT_PREFIX
from millrace.worker.contract.ids import START, Cursor

_FRAMES_PER_SEND = 64
_EPOCH = 1  # of the cursors of rendered frames, whose `seq` is the number of the frame


class Renderer(Protocol):
    """Renders one log, each event once and in order, as SSE frames of another protocol; raises nothing."""

    @property
    def is_over(self) -> bool:
        """Whether the last frame has been rendered, so that the stream ends."""
        ...

    def render(self, frame: Frame, number: int) -> list[bytes]:
        """Return the frames for an event, without HTTP chunks; `number` frames precede them."""
        ...

    def rejoin(self, frame: Frame, number: int) -> list[bytes]:
        """Return the same for a snapshot that is all that is left of the events of a client's first `number` frames."""
        ...


class Rendered(NamedTuple):
    """A generation's log in one dialect; renderings with equal keys are the same."""

    generation: str
    key: Hashable
    make: Callable[[], Renderer]
    cancels_unwatched: bool


def after_frame(number: int) -> Cursor:
    """Return the cursor of a reader that has had this many frames."""
    return Cursor(_EPOCH, number)


class Renderings:
    """The shared renderings of a process, each as long as it has clients, also after its end."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._shared: dict[tuple[str, Hashable], Rendering] = {}

    def __len__(self) -> int:
        return len(self._shared)

    def follow(
        self,
        reader: Reader,
        rendered: Rendered,
        *,
        authorization: Authorization | None = None,
        client: Client | None = None,
    ) -> None:
        """Let a client's reader have the frames after the one in its cursor; returns at once."""
        place = rendered.generation, rendered.key
        shared = self._shared.get(place)
        is_new = shared is None
        if shared is None:
            shared = self._shared[place] = Rendering(self._hub, rendered, lambda: self._shared.pop(place, None))
        shared.admit(reader)
        self._hub.add_connection(reader, authorization, client)
        if not reader.end_reason:
            shared.add(reader)
        if is_new and not shared.end_reason:
            shared.start()


class _LogReader(Reader):
    """A reader of the log without a socket and a place; its clients have these, and are ended one by one."""

    __slots__ = ("_count", "_hub", "_is_complete", "_rendered", "_renderer", "_seq")

    def __init__(self, hub: Hub, rendered: Rendered) -> None:
        super().__init__(rendered.generation, START)
        self.has_place = False
        self.write = write_nothing
        self._hub = hub
        self._rendered = rendered
        self._renderer = rendered.make()
        self._count = 0  # frames rendered so far
        self._seq = 0  # of the last event
        self._is_complete = True  # whether the frames are those of the whole log, and their numbers hold everywhere

    def start(self) -> None:
        """Follow the log; returns at once."""
        self._hub.follow(self, cancels_unwatched=self._rendered.cancels_unwatched)

    def close(self, why: EndReason) -> None:
        """Stop following the log."""
        if not self.end_reason:
            self.end_reason = why
            self.source.remove(self)

    def cut(self) -> None:
        """Do nothing: a client that has stalled is cut itself."""

    def _render(self, frame: Frame, has_had: int = 0) -> list[Frame]:
        """Return the numbered frames for the next event, for a client that has had this many frames."""
        is_first = self._seq == 0
        is_snapshot = frame.data.startswith(SNAPSHOT_PREFIX)
        has_lost = is_snapshot if is_first else frame.seq != self._seq + 1
        if has_lost:
            self._is_complete = False  # the log has lost events: this snapshot stands for them
        self._seq = frame.seq
        if has_lost and is_snapshot and self._count < has_had:
            if not is_first:  # the events that were lost stand between those rendered and those that the client has had
                self._renderer = self._rendered.make()
            self._count = has_had
            bodies = self._renderer.rejoin(frame, has_had)
        else:
            bodies = self._renderer.render(frame, self._count)
        numbers = range(self._count + 1, self._count + 1 + len(bodies))
        self._count += len(bodies)
        last = self._count if self._renderer.is_over else 0
        return [
            Frame(_EPOCH, number, chunked(body), number == last) for number, body in zip(numbers, bodies, strict=True)
        ]


class Rendering(_LogReader):
    """A rendering that all clients of its dialect share, those included that have a replay for now."""

    __slots__ = ("_clients", "_on_unused", "_tail")

    def __init__(self, hub: Hub, rendered: Rendered, on_unused: Callable[[], object]) -> None:
        super().__init__(hub, rendered)
        self._clients: set[Reader] = set()
        self._tail = Tail(rendered.generation, b"", self._serve_lagging, self.forget, hub.counts)
        self._tail.open(after_frame(0))
        self._on_unused = on_unused

    def admit(self, client: Reader) -> None:
        """Count a client; `add` serves it."""
        self._clients.add(client)
        client.source = self._tail

    def add(self, client: Reader) -> None:
        """Serve a client from its cursor on, or give it a replay."""
        if self._is_complete or not client.cursor.seq:
            self._tail.add(client)
        else:
            self._replay(client)

    def forget(self, client: Reader) -> None:
        """Forget a client that was closed; the last one ends the rendering."""
        if client not in self._clients:
            return  # it was closed before, and another rendering may have this one's place by now
        self._clients.remove(client)
        self._hub.remove_connection(client)
        if not self._clients:
            self._on_unused()
            self.close("client_left")

    def can_continue(self, cursor: Cursor) -> bool:
        """Return whether a client with this cursor can be served without a replay."""
        return self._is_complete and (not self.end_reason or self._tail.is_done) and self._tail.covers(cursor)

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Render the events and deliver their frames; clients without room for them go on from the buffer later."""
        for number, frame in enumerate(frames, 1):
            rendered = self._render(frame)
            self._tail.keep_for(len(self._clients), is_last=self._renderer.is_over)
            self._tail.append(rendered)
            if self.end_reason or self._renderer.is_over:
                self._end()
                return number
        self._serve_lagging(self._tail)
        return len(frames)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End with the log; for another reason each client is ended on its own."""
        if why == "done":
            self._end()

    def _end(self) -> None:
        if not self._tail.is_done:
            self._tail.mark_done()
        self._serve_lagging(self._tail)
        self.close("done")

    def _serve_lagging(self, tail: Tail) -> None:
        """Replay for the clients whose next frame is no longer in the buffer.

        A client that has had more frames elsewhere than were rendered here waits for the next one, if one follows.
        """
        if self._is_complete:
            tail.resume_lagging()
        for client in tuple(tail.lagging):
            if not self._is_complete or client.cursor < after_frame(self._count):
                tail.release(client)
                self._replay(client)
            elif tail.is_done:
                client.finish("done")

    def _replay(self, client: Reader) -> None:
        Replay(self._hub, self._rendered, client, self).start()


class Replay(_LogReader):
    """A rendering for one client, at the client's pace, until the shared one can continue."""

    __slots__ = ("_after", "_client", "_pending", "_shared")

    def __init__(self, hub: Hub, rendered: Rendered, client: Reader, shared: Rendering) -> None:
        super().__init__(hub, rendered)
        self._client = client
        self._after = client.cursor.seq
        self._pending: deque[Frame] = deque()
        self._shared = shared
        client.source = self

    def take_rest(self, frames: Sequence[Frame], written: int | OSError) -> int:
        """Render the events for which the client has room."""
        count = 0
        for frame in frames:
            if self.is_full or self.end_reason:
                break
            rendered = self._render(frame, self._after)
            self._pending.extend(each for each in rendered if each.seq > self._after)
            count += 1
            self._flush()
        return count

    def resume(self, client: Reader) -> None:
        """Go on for the client, which has room again."""
        self._flush()
        if not self.is_full and not self.end_reason:
            self.source.resume(self)

    def remove(self, client: Reader) -> None:
        """Stop: the client was closed."""
        self.close("client_left")
        self._shared.forget(client)

    def finish(self, why: EndReason, last_bytes: bytes = b"") -> None:
        """End the client with its log; for another reason it is ended on its own."""
        if why == "done" and not self._pending:
            self._client.finish("done")

    def _flush(self) -> None:
        """Send what is pending; then hand the client over to the shared rendering if that can continue."""
        client = self._client
        while self._pending and not client.is_full and not client.end_reason:
            part = list(islice(self._pending, _FRAMES_PER_SEND))
            for _ in range(client.take(part, join(part))):
                client.cursor = self._pending.popleft().cursor
        self.is_full = bool(self._pending) or client.is_full
        if self.is_full or client.end_reason:
            return
        if self._renderer.is_over:
            client.finish("done")
        elif self._is_complete and self._count >= self._after and self._shared.can_continue(after_frame(self._count)):
            client.cursor = after_frame(self._count)
            self.close("done")
            self._shared.add(client)
