"""The mapping from Google's responses, whole or in parts, to deltas. Pure.

https://ai.google.dev/api/generate-content#v1beta.GenerateContentResponse
"""

from typing import Any

from msgspec.structs import replace

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolUse, Usage
from millrace.worker.errors import ProviderError
from millrace.worker.observability.logs import get_logger
from millrace.worker.providers.gemini.errors import map_stream_error
from millrace.worker.providers.members import (
    Members,
    bytes_of,
    checked,
    count_of,
    list_of,
    name_of,
    object_of,
    parse_object,
    text_of,
)
from millrace.worker.providers.protocol import Delta, Details, OutputImage, ReasoningBlock, Stopped
from millrace.worker.providers.stop_reason import StopReason

FINISH_REASONS: dict[str, StopReason] = {
    "STOP": "end_turn",
    "MAX_TOKENS": "max_tokens",
    "CONTINUATION": "max_tokens",
    **dict.fromkeys(
        (
            *("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "MODEL_ARMOR", "ESCALATION"),
            *("IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION"),
        ),
        "content_filtered",
    ),
    "LANGUAGE": "refused",
    "PUP_LIMITED_DISABLED": "refused",
    **dict.fromkeys(
        (
            *("MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS"),
            "MISSING_THOUGHT_SIGNATURE",
        ),
        "malformed",
    ),
    **dict.fromkeys(("OTHER", "IMAGE_OTHER", "NO_IMAGE"), "other"),
}
"""Google's finish reasons. A text that ends at a stop sequence has the reason STOP as well."""

_UNSTATED = ("", "FINISH_REASON_UNSPECIFIED")
_UNBLOCKED = ("", "BLOCK_REASON_UNSPECIFIED", "BLOCKED_REASON_UNSPECIFIED")
_IGNORED_PARTS = (
    *("executableCode", "codeExecutionResult", "inlineData", "fileData", "functionResponse", "toolCall"),
    "toolResponse",
)
"""Parts for which the log has no event."""
_SOURCES = ("web", "retrievedContext", "maps", "image")
_DETAILS = ("responseId", "modelVersion")
_MAX_DETAIL_CHARS = 200

_log = get_logger(__name__)


class ResponseMapper:
    """Maps the parts of one stream, in order, or one whole response."""

    def __init__(self) -> None:
        self._reason: StopReason | None = None
        self._has_content = False
        self._stops_in_vain = False  # STOP stands in every part, as some gateways write it, and means nothing
        self._tools = 0
        self._cited: set[str] = set()
        self._ignored: set[str] = set()
        self._usage: Members | None = None
        self._details: Members = {}

    @property
    def has_finished(self) -> bool:
        """Whether the answer is whole, by what has been mapped; only usage may follow.

        A STOP without any content before it, or with content after it, does not count: the end of the stream decides.
        """
        if self._reason is None or self._stops_in_vain:
            return False
        return self._has_content or self._reason != "end_turn"

    def map(self, data: bytes) -> list[Delta]:
        """Return the deltas of one event's data; raises ProviderError for an error, or a member of a wrong type."""
        return self.map_response(parse_object(data)) if data else []

    def map_response(self, response: Members) -> list[Delta]:
        """Return the deltas of a part, or of a whole response."""
        error = response.get("error")
        if error:
            raise map_stream_error(error if isinstance(error, dict) else {"message": error})
        if usage := response.get("usageMetadata"):  # cumulative: the last one counts
            self._usage = object_of(usage)
        if not self._details:
            self._details = {
                name: value[:_MAX_DETAIL_CHARS] for name in _DETAILS if isinstance(value := response.get(name), str)
            }
        deltas: list[Delta] = []
        for candidate in list_of(response.get("candidates")):
            members = object_of(candidate)
            if not members.get("index"):  # only one was asked for
                self._map_candidate(members, deltas)
        if feedback := response.get("promptFeedback"):
            reason = text_of(object_of(feedback).get("blockReason"))
            if reason not in _UNBLOCKED:
                self._reason = "content_filtered"
        return deltas

    def end(self) -> list[Delta]:
        """Return what is left at the end of the stream. An answer without a finish reason gets no `Stopped`."""
        deltas: list[Delta] = []
        if self._reason is not None:
            is_call = self._reason == "end_turn" and self._tools > 0
            deltas.append(Stopped("tool_use" if is_call else self._reason))
        if self._details:
            deltas.append(Details(self._details))
        if self._usage is not None:
            usage = parse_usage(self._usage)
            deltas.append(usage if self._reason else replace(usage, exact=False))  # a part of what Google bills
        return deltas

    def _map_candidate(self, candidate: Members, deltas: list[Delta]) -> None:
        before = len(deltas)
        if content := candidate.get("content"):
            for part in list_of(object_of(content).get("parts")):
                self._map_part(object_of(part), deltas)
        self._map_sources(candidate, deltas)
        if any(not isinstance(each, ReasoningBlock) for each in deltas[before:]):
            self._has_content = True
            self._stops_in_vain = self._stops_in_vain or self._reason == "end_turn"
        reason = text_of(candidate.get("finishReason"))
        if reason not in _UNSTATED:
            if reason not in FINISH_REASONS:
                _log.warning("unknown_stop_reason_accepted", reason=reason[:100])
            self._reason = FINISH_REASONS.get(reason, "other")

    def _map_part(self, part: Members, deltas: list[Delta]) -> None:
        text = part.get("text")
        if (signature := text_of(part.get("thoughtSignature"))) and not part.get("functionCall"):
            deltas.append(ReasoningBlock({"thoughtSignature": signature}))
        if text:
            deltas.append(Reasoning(text_of(text)) if part.get("thought") is True else Chunk(text_of(text)))
        elif call := part.get("functionCall"):
            members = object_of(call)
            identifier = text_of(members.get("id")) or f"call_{self._tools}"
            arguments = object_of(checked(members.get("args")))
            deltas.append(ToolUse(identifier, name_of(members.get("name")), arguments))
            self._tools += 1
        elif _is_image(blob := object_of(part.get("inlineData"))):
            deltas.append(OutputImage(bytes_of(blob.get("data"))))
        else:
            for kind in _IGNORED_PARTS:
                if part.get(kind) and kind not in self._ignored:
                    self._ignored.add(kind)
                    _log.warning("response_part_ignored", kind=kind)

    def _map_sources(self, candidate: Members, deltas: list[Delta]) -> None:
        if citations := candidate.get("citationMetadata"):
            members = object_of(citations)
            for each in list_of(members.get("citationSources") or members.get("citations")):
                self._cite("web", object_of(each), deltas)
        if grounding := candidate.get("groundingMetadata"):
            for each in list_of(object_of(grounding).get("groundingChunks")):
                for kind in _SOURCES:
                    if source := object_of(each).get(kind):
                        self._cite(kind, object_of(source), deltas)

    def _cite(self, kind: str, source: Members, deltas: list[Delta]) -> None:
        """Cite a source once, however often the stream names it."""
        url, title = text_of(source.get("uri")), text_of(source.get("title"))
        cited = url or text_of(source.get("documentName")) or title
        if not cited or cited in self._cited:
            return
        self._cited.add(cited)
        text = text_of(source.get("text"))
        web: Members = {"url": url}
        if domain := text_of(source.get("domain")):
            web["domain"] = domain
        is_page = bool(url) and kind != "retrievedContext"
        deltas.append(
            Citation(title or None, cited, [{"text": text}] if text else None, {"web": web} if is_page else None)
        )


def _is_image(blob: Members) -> bool:
    return text_of(blob.get("mimeType")).startswith("image/") and bool(blob.get("data"))


def parse_usage(usage: Members) -> Usage:
    """Return the token counts: Google's prompt includes cached tokens, and its candidates exclude thoughts.

    The prompt that a tool on Google's side adds is counted beside the given one.
    """
    cached, thoughts = count_of(usage.get("cachedContentTokenCount")), count_of(usage.get("thoughtsTokenCount"))
    given = count_of(usage.get("promptTokenCount"))
    return Usage(
        input_tokens=max(0, given - cached) + count_of(usage.get("toolUsePromptTokenCount")),
        output_tokens=count_of(usage.get("candidatesTokenCount")) + thoughts,
        cache_read_tokens=cached,
        reasoning_tokens=thoughts,
    )


def parse_responses(data: bytes) -> list[Any]:
    """Return the responses of a body in JSON: one, or the list that a service sends which ignores `alt=sse`.

    Raises ProviderError: a body that is no JSON has been cut off.
    """
    is_list = data.lstrip().startswith(b"[")
    try:
        found = parse_object(b'{"all":%b}' % data if is_list else data)
    except ProviderError as error:
        raise ProviderError("truncated", retryable=True) from error
    return list_of(found["all"]) if is_list else [found]
