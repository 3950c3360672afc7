"""The parts of Anthropic's messages that read the same in a stream and in a whole message. Pure."""

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from millrace.worker.contract.events import Citation, ToolResult, ToolUse, Usage
from millrace.worker.providers.members import (
    Members,
    checked,
    count_of,
    list_of,
    name_of,
    object_of,
    parse_object,
    text_of,
)

COUNTS = ("input_tokens", "output_tokens", "cache_read_input_tokens", "cache_creation_input_tokens")
_MAX_DETAIL_CHARS = 300

# How Bedrock's events, which Millrace's are like, name the places that a citation points to.
_LOCATIONS = {
    "char_location": ("documentChar", "document_index", "start_char_index", "end_char_index"),
    "page_location": ("documentPage", "document_index", "start_page_number", "end_page_number"),
    "content_block_location": ("documentChunk", "document_index", "start_block_index", "end_block_index"),
    "search_result_location": (
        *("searchResultLocation", "search_result_index", "start_block_index", "end_block_index"),
    ),
}


@dataclass
class Block:
    """A block whose rest is to come: a tool use with the JSON of its input, or thinking with its signature."""

    start: Members
    pieces: list[str] = field(default_factory=list[str])
    signature: str = ""

    def to_tool_use(self) -> ToolUse:
        text = "".join(self.pieces)
        given = parse_object(text) if text.strip() else object_of(self.start.get("input"))
        return ToolUse(name_of(self.start.get("id")), name_of(self.start.get("name")), checked(given))


def to_usage(usage: Members) -> Usage:
    sent, written, read, cached = (count_of(usage.get(name)) for name in COUNTS)
    details = usage.get("output_tokens_details")
    reasoning = count_of(details.get("thinking_tokens")) if isinstance(details, dict) else 0
    return Usage(sent, written, read, cached, reasoning_tokens=min(reasoning, written))


def to_detail(value: Any) -> Any:
    """Return a detail that is safe to show: a short text, a number, or an object of these; None for anything else."""
    if isinstance(value, dict):
        shown = {name: each for name, each in value.items() if type(each) in (int, float, str)}
        return {name: detail for name, each in shown.items() if (detail := to_detail(each)) is not None} or None
    if isinstance(value, str):
        return value[:_MAX_DETAIL_CHARS] or None
    if type(value) is float:
        return value if abs(value) < 2**53 else None
    return value if type(value) is int and abs(value) <= 2**53 else None


def to_tool_result(block: Members) -> ToolResult:
    """Return the result of a tool that ran at Anthropic; its content without what only serves to be sent back."""
    content = block.get("content")
    pieces = list_of([content] if isinstance(content, dict) else content)
    shown: list[Any] = [
        {name: each for name, each in object_of(piece).items() if not name.startswith("encrypted_")} for piece in pieces
    ]
    is_error = block.get("is_error") is True or any(
        str(object_of(piece).get("type")).endswith("_error") for piece in pieces
    )
    return ToolResult(name_of(block.get("tool_use_id")), checked(shown), "error" if is_error else None)


def to_citation(given: Members) -> Citation:
    """Return a citation with the fields and the names of Bedrock's."""
    kind, url = text_of(given.get("type")), text_of(given.get("url"))
    title = text_of(given.get("title")) or text_of(given.get("document_title")) or None
    source = url or text_of(given.get("source")) or text_of(given.get("file_id")) or None
    quoted = text_of(given.get("cited_text"))
    location: Members | None = None
    if url:
        location = {"web": {"url": url, "domain": _domain_of(url)}}
    elif kind in _LOCATIONS:
        place, index, start, end = _LOCATIONS[kind]
        names = {
            index: "documentIndex" if index == "document_index" else "searchResultIndex",
            start: "start",
            end: "end",
        }
        location = {place: {new: value for old, new in names.items() if type(value := given.get(old)) is int}}
    return Citation(title, source, [{"text": quoted}] if quoted else None, location)


def _domain_of(url: str) -> str:
    try:
        return urlsplit(url).hostname or ""
    except ValueError:
        return ""
