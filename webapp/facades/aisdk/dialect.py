"""The rendering of a log as a UI message stream.

The SDK's client can only append to a message. When a later attempt withdraws content that was sent, the stream waits
until the new content begins with all of the sent one, and goes on there. Where it does not, version 7 of the SDK
removes the step's parts on request and gets the whole answer again. Version 6 has no part for that: its stream ends
with an error, and a stream that is resumed leaves out everything that was withdrawn before it began.
"""

from collections.abc import Hashable
from typing import Literal, assert_never

from msgspec import UNSET

from millrace.webapp.facades.aisdk.content import ContentEvent, SentContent
from millrace.webapp.facades.aisdk.parts import (
    FinishReason,
    UiAbort,
    UiDataResume,
    UiDataStatus,
    UiDataSuggestions,
    UiDataTitle,
    UiError,
    UiFinish,
    UiFinishStep,
    UiMessageMetadata,
    UiMetadata,
    UiResetStep,
    UiResume,
    UiStart,
    UiStartStep,
    UiStatus,
    UiSuggestions,
    UiTitle,
    UiUsage,
)
from millrace.webapp.facades.dialect import Line
from millrace.worker.contract.events import (
    AnyEvent,
    Cancelled,
    Chunk,
    Citation,
    Complete,
    ContextEvent,
    Done,
    Error,
    Image,
    Link,
    Reasoning,
    Snapshot,
    StatusEvent,
    Suggestions,
    Title,
    ToolResult,
    ToolUse,
)
from millrace.worker.contract.state import GenerationState
from millrace.worker.contract.transcript import Transcript

SdkVersion = Literal[6, 7]

_DONE = "[DONE]"
_REASONS: dict[str, FinishReason] = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "tool_use": "tool-calls",
}
_MESSAGES = {
    "restarted": "The answer began again with different text. Reload the page to see it.",
    "interrupted": "The connection is closed by a restart of the server. Reload the page to see the whole answer.",
}


class UiMessageDialect:
    """Renders the parts of one message; `version` is the SDK's, 6 where it is unknown.

    `generations_url` is the address below which the images of each generation lie.
    Version 6 gets the events that the log already has in one piece, without what a later one of them withdraws.
    """

    has_ids = False
    heartbeat = b":\n\n"

    def __init__(self, state: GenerationState, version: SdkVersion, generations_url: str) -> None:
        self.is_over = False
        self._images_url = f"{generations_url}{state.generation}/images/"
        self._state = state
        self._version: SdkVersion = version
        self._held_events = state.top.seq if version == 6 else 0
        self._held: list[Line] = []
        self.key: Hashable = ("aisdk", version, self._held_events, generations_url)
        self._current = Transcript()
        self._results: list[ToolResult] = []
        self._links: list[Link] = []  # of the context
        self._shown: list[str] = []  # those that were sent before the step
        self._step: SentContent | None = None
        self._has_started = False

    def render(self, event: AnyEvent, number: int) -> list[Line]:
        """Return the parts for an event."""
        lines = self._begin() + self._parts_of(event)
        if self._held_events == 0:
            return lines
        self._held += lines
        self._held_events -= 1
        return self._release() if self._held_events == 0 or _ends_replay(event) else []

    def rejoin(self, snapshot: Snapshot, number: int) -> list[Line]:
        """Return the parts of a stored answer, or of a log whose beginning is lost."""
        self._held_events = 0
        return self.render(snapshot, number)

    def interrupted(self) -> list[Line]:
        """Return the last parts of a stream that this process has to end."""
        return _last_parts("interrupted")

    def _release(self) -> list[Line]:
        lines, self._held, self._held_events = self._held, [], 0
        return lines

    def _begin(self) -> list[Line]:
        if self._has_started:
            return []
        self._has_started = True
        ids = UiMetadata(generation=self._state.generation, conversation_id=self._state.conversation)
        return [UiStart(message_id=self._state.message, message_metadata=ids)]

    def _parts_of(self, event: AnyEvent) -> list[Line]:
        self._current.apply(event)
        lines: list[Line] = []
        match event:
            case StatusEvent(status=status, attempt=attempt, model=model, provider=provider, code=code):
                lines = [UiDataStatus(data=UiStatus(status, attempt, model, provider, code), transient=True)]
            case ContextEvent(sources=sources):
                lines = self._link(sources)
            case Chunk() | Reasoning() | Citation() | Image() | ToolUse() | ToolResult() | Snapshot():
                lines = self._add(event)
            case Complete() | Cancelled() | Error():
                lines = self._end(event)
            case Title(title):
                lines = [UiDataTitle(id="title", data=UiTitle(title))]
            case Suggestions(suggestions):
                lines = [UiDataSuggestions(id="suggestions", data=UiSuggestions(suggestions))]
            case Done():
                lines = self._finish(event)
            case _:
                assert_never(event)
        return lines

    def _link(self, links: list[Link]) -> list[Line]:
        self._links += links
        if self._step is not None:
            return self._step.link(links)
        lines = SentContent(self._images_url, self._shown).link(links)
        self._shown += [each.url for each in links]
        return lines

    def _add(self, event: ContentEvent) -> list[Line]:
        if isinstance(event, ToolResult):
            self._results.append(event)
        lines: list[Line] = []
        if self._step is None:
            self._step = SentContent(self._images_url, self._shown)
            lines.append(UiStartStep())
        lines += self._step.add(event)
        return self._begin_again() if self._step.is_contradicted else lines

    def _begin_again(self) -> list[Line]:
        """Return the whole content again, for a client whose content cannot be mended by appending."""
        if self._version == 6 and self._held_events == 0:
            return self._break_off()
        if self._version == 6:
            self._held = []
            self._has_started = False
            self._shown = [each.url for each in self._links]
            opening = [*self._begin(), *SentContent(self._images_url).link(self._links), UiStartStep()]
        else:
            opening: list[Line] = [UiResetStep()]
        self._step = SentContent(self._images_url, self._shown)
        lines = [*opening, *self._step.link(self._links), *self._step.add(self._current.snapshot("takeover"))]
        for each in self._results:
            lines += self._step.add(each)
        return lines

    def _end(self, outcome: Complete | Cancelled | Error) -> list[Line]:
        lines: list[Line] = []
        can_mend = self._version == 7 or self._held_events > 0 or not isinstance(outcome, Error)
        if self._step is not None and not self._step.is_current and can_mend:
            lines += self._begin_again()
            if self.is_over:
                return lines
        if self._step is not None:
            lines += [*self._step.close(), UiFinishStep()]
        lines.append(UiMessageMetadata(message_metadata=_metadata_of(outcome)))
        match outcome:
            case Complete():
                pass
            case Cancelled(by=by):
                lines.append(UiAbort(reason=by))
            case Error(message=message):
                self.is_over = True
                lines += [UiError(error_text=message), UiFinish(finish_reason="error"), _DONE]
            case _:
                assert_never(outcome)
        return lines

    def _finish(self, done: Done) -> list[Line]:
        self.is_over = True
        outcome = self._current.outcome
        if not isinstance(outcome, Complete):
            return [_DONE]  # a cancelled message has no `finish`
        total = UiMetadata(total_usage=UiUsage.of(done.usage_total)) if done.usage_total else UNSET
        reason = _REASONS.get(outcome.stop_reason, "other")
        return [UiFinish(finish_reason=reason, message_metadata=total), _DONE]

    def _break_off(self) -> list[Line]:
        self.is_over = True
        self._release()
        return _last_parts("restarted")


def _last_parts(reason: Literal["restarted", "interrupted"]) -> list[Line]:
    return [UiDataResume(data=UiResume(reason), transient=True), UiError(error_text=_MESSAGES[reason]), _DONE]


def _ends_replay(event: AnyEvent) -> bool:
    """Return whether the log may be shorter than it was, so that waiting for its old end is in vain."""
    lost = isinstance(event, Snapshot) and event.reason in ("lost", "gap", "expired")
    return lost or isinstance(event, Complete | Cancelled | Error | Done)


def _metadata_of(outcome: Complete | Cancelled | Error) -> UiMetadata:
    usage, total = outcome.usage, outcome.usage_total
    names: dict[type, Literal["complete", "cancelled", "error"]] = {
        Complete: "complete",
        Cancelled: "cancelled",
        Error: "error",
    }
    return UiMetadata(
        outcome=names[type(outcome)],
        model=outcome.model or UNSET,
        provider=outcome.provider or UNSET,
        stop_reason=outcome.stop_reason if isinstance(outcome, Complete) else UNSET,
        code=outcome.code if isinstance(outcome, Error) else UNSET,
        retryable=outcome.retryable if isinstance(outcome, Error) else UNSET,
        usage=UiUsage.of(usage) if usage else UNSET,
        total_usage=UiUsage.of(total) if total else UNSET,
        cost=usage.cost if usage else UNSET,
    )
