"""History of the calls served: each call's request, its progress and how it ended. Published as `GET /_calls`."""

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from deploy.emulator.directive import Directive
from deploy.emulator.request import EmulatedRequest

MAX_ENTRIES = 10_000  # calls, and likewise scripted texts whose calls are counted

Ended = Literal["finished", "closed_by_client", "fault"]


@dataclass
class CallRecord:
    """One call. Its fields are the keys of `GET /_calls`.

    `tool` is the forced tool's name. `ended` is None while the call runs. Times are in unix seconds; `sent_at` holds
    those of the first and of the last delta.
    """

    operation: str
    model: str
    messages: list[dict[str, Any]]
    system: Any
    inference: dict[str, Any]
    tool: str | None = None
    is_streamed: bool = False
    id: str = field(default_factory=lambda: str(uuid4()))
    started: float = field(default_factory=time.time)
    deltas_sent: int = 0
    sent_at: list[float] | None = None
    ended: Ended | None = None
    ended_at: float | None = None

    def add_deltas(self, count: int) -> None:
        """Count deltas that have just been written."""
        if count:
            now = time.time()
            self.deltas_sent += count
            self.sent_at = [self.sent_at[0] if self.sent_at else now, now]

    def end(self, ended: Ended) -> None:
        """Record how the call ended; only the first call of this method counts."""
        if self.ended is None:
            self.ended = ended
            self.ended_at = time.time()


class CallHistory:
    """The last `MAX_ENTRIES` calls, oldest first, and the number of calls of each scripted text."""

    def __init__(self) -> None:
        """Start empty."""
        self._calls: deque[CallRecord] = deque(maxlen=MAX_ENTRIES)
        self._call_counts: OrderedDict[str, int] = OrderedDict()

    def start(self, request: EmulatedRequest) -> CallRecord:
        """Add a call that is about to be answered."""
        tool = request.forced_tool.name if request.forced_tool else None
        call = CallRecord(
            *(request.operation, request.model, request.messages, request.system, request.inference, tool),
            is_streamed=request.is_streamed,
        )
        self._calls.append(call)
        return call

    def count_fault(self, text: str, directive: Directive) -> bool:
        """Count a call of this text and return whether the directive's fault applies to it."""
        if directive.fault is None:
            return False
        count = self._count(f"fault {text}")
        return directive.times is None or count <= directive.times

    def count_script(self, text: str, directive: Directive) -> Directive:
        """Count a call of this text and return its script: the directive, or from the second call on its `then`."""
        if directive.then is None:
            return directive
        return directive if self._count(f"script {text}") == 1 else directive.then

    def _count(self, text: str) -> int:
        count = self._call_counts[text] = self._call_counts.pop(text, 0) + 1
        if len(self._call_counts) > MAX_ENTRIES:
            self._call_counts.popitem(last=False)
        return count

    def to_json(self) -> list[dict[str, Any]]:
        """Return the calls as JSON objects, oldest first."""
        return [dict(vars(call)) for call in self._calls]

    def clear(self) -> None:
        """Remove all calls and counts; a call that is still running is no longer listed."""
        self._calls.clear()
        self._call_counts.clear()
