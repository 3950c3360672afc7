"""The register of the calls served: what was asked, how far each got, and how it ended."""

import time
from collections import OrderedDict, deque
from dataclasses import dataclass, field
from typing import Any, Literal
from uuid import uuid4

from deploy.emulator.directive import Directive
from deploy.emulator.request import Request

KEPT = 10_000  # calls, and scripted texts whose `times` are counted

Operation = Literal["ConverseStream", "Converse", "InvokeModelWithResponseStream", "InvokeModel"]
Ended = Literal["finished", "closed_by_client", "fault"]


@dataclass
class Call:
    """One call; `tool` is the one that was forced, `ended` is None while it runs.

    Times are unix seconds, `sent_at` those of the first and the last delta.
    """

    operation: Operation
    model: str
    messages: list[dict[str, Any]]
    system: Any
    inference: dict[str, Any]
    tool: str | None = None
    id: str = field(default_factory=lambda: str(uuid4()))
    started: float = field(default_factory=time.time)
    deltas_sent: int = 0
    sent_at: list[float] | None = None
    ended: Ended | None = None
    ended_at: float | None = None

    def sent(self, deltas: int) -> None:
        """Count deltas that have been written just now."""
        if deltas:
            now = time.time()
            self.deltas_sent += deltas
            self.sent_at = [self.sent_at[0] if self.sent_at else now, now]

    def end(self, how: Ended) -> None:
        """Say how the call ended; the first word stands."""
        if self.ended is None:
            self.ended = how
            self.ended_at = time.time()


class Calls:
    """The last `KEPT` calls, oldest first, and how often each scripted text has been asked."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._calls: deque[Call] = deque(maxlen=KEPT)
        self._times: OrderedDict[str, int] = OrderedDict()

    def begin(self, operation: Operation, request: Request) -> Call:
        """Register a call that is about to be answered."""
        tool = request.forced.name if request.forced else None
        call = Call(operation, request.model, request.messages, request.system, request.inference, tool)
        self._calls.append(call)
        return call

    def strikes(self, text: str, directive: Directive) -> bool:
        """Count a call of this text, and tell whether the directive's fault strikes this time."""
        if directive.fault is None:
            return False
        asked = self._times.pop(text, 0) + 1
        self._times[text] = asked
        if len(self._times) > KEPT:
            self._times.popitem(last=False)
        return directive.times is None or asked <= directive.times

    def listed(self) -> list[dict[str, Any]]:
        """Return the calls as JSON objects, oldest first."""
        return [dict(vars(call)) for call in self._calls]

    def forget(self) -> None:
        """Forget the calls and the counts; a call that is still running is listed no more."""
        self._calls.clear()
        self._times.clear()
