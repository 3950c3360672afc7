"""The content of a message's step: blocks of text and reasoning, tools and sources, each sent once."""

from collections.abc import Iterable
from typing import Any, Literal, assert_never

import msgspec
from msgspec import UNSET

from millrace.webapp.facades.aisdk.parts import (
    UiFile,
    UiReasoningDelta,
    UiReasoningEnd,
    UiReasoningStart,
    UiSourceDocument,
    UiSourceUrl,
    UiTextDelta,
    UiTextEnd,
    UiTextStart,
    UiToolInputAvailable,
    UiToolInputStart,
    UiToolOutputAvailable,
    UiToolOutputError,
)
from millrace.webapp.facades.dialect import AppendOnlyText, Line
from millrace.worker.contract.events import (
    Chunk,
    Citation,
    Image,
    ImageReference,
    Link,
    Reasoning,
    Snapshot,
    ToolResult,
    ToolUse,
)

ContentEvent = Chunk | Reasoning | Citation | Image | ToolUse | ToolResult | Snapshot

_WEB = ("http://", "https://")
_DOCUMENT = "text/plain"  # a citation does not say of which type its document is


class SentContent:
    """The content as sent to a client that can only append, beside the current content of the answer.

    `images_url`: the address of the answer's images, to which an image's id is added. `shown`: the sources that were
    sent before the step.
    """

    def __init__(self, images_url: str, shown: Iterable[str] = ()) -> None:
        self._images_url = images_url
        self._images: list[ImageReference] = []
        self._texts = {"text": AppendOnlyText(), "reasoning": AppendOnlyText()}
        self._block: Literal["text", "reasoning"] | None = None
        self._blocks = 0
        self._tools: list[Any] = []
        self._has_lost_parts = False
        self._sources = set(shown)

    @property
    def is_contradicted(self) -> bool:
        """Whether something that was sent has been withdrawn and cannot come back by appending."""
        return self._has_lost_parts or any(each.is_contradicted for each in self._texts.values())

    @property
    def is_current(self) -> bool:
        """Whether the sent text and reasoning are the current ones."""
        return not self.is_contradicted and all(each.is_whole for each in self._texts.values())

    def add(self, event: ContentEvent) -> list[Line]:
        """Take an event and return the parts to append for it."""
        lines: list[Line] = []
        match event:
            case Chunk():
                lines = self._append("text", event)
            case Reasoning(content):
                lines = self._append("reasoning", Chunk(content))
            case Citation():
                lines = self._cite([msgspec.to_builtins(event)])
            case Image(image, format_, size):
                lines = self._show_images([ImageReference(image, format_, size)])
            case ToolUse(id=tool, name=name, input=given):
                lines = self._use([{"id": tool, "name": name, "input": given}])
            case ToolResult():
                lines = self._finish_tool(event)
            case Snapshot():
                lines = self._replace(event)
            case _:
                assert_never(event)
        return lines

    def link(self, links: Iterable[Link]) -> list[Line]:
        """Return a part for each web page that has none yet."""
        return [part for each in links for part in self._show(each.url, each.title)]

    def close(self) -> list[Line]:
        """Return the end of the open block."""
        block, self._block = self._block, None
        match block:
            case None:
                return []
            case "text":
                return [UiTextEnd(id=self._block_id(block))]
            case "reasoning":
                return [UiReasoningEnd(id=self._block_id(block))]

    def _append(self, kind: Literal["text", "reasoning"], event: Chunk | Snapshot) -> list[Line]:
        delta = self._texts[kind].add(event)
        if not delta:
            return []
        lines: list[Line] = []
        if self._block != kind:
            lines += self.close()
            self._block, self._blocks = kind, self._blocks + 1
            start = UiTextStart if kind == "text" else UiReasoningStart
            lines.append(start(id=self._block_id(kind)))
        part = UiTextDelta if kind == "text" else UiReasoningDelta
        return [*lines, part(id=self._block_id(kind), delta=delta)]

    def _block_id(self, kind: str) -> str:
        return f"{kind}-{self._blocks}"

    def _replace(self, snapshot: Snapshot) -> list[Line]:
        reasoning = msgspec.structs.replace(snapshot, content=snapshot.reasoning)
        lines = self._append("reasoning", reasoning) + self._append("text", snapshot)
        tools, images = len(self._tools), len(self._images)
        if snapshot.tools[:tools] != self._tools or snapshot.images[:images] != self._images:
            self._has_lost_parts = True
        lines += self._use(snapshot.tools[tools:]) + self._show_images(snapshot.images[images:])
        return lines + self._cite(snapshot.citations)

    def _show_images(self, images: list[ImageReference]) -> list[Line]:
        self._images += images
        return [UiFile(url=self._images_url + each.id, media_type=f"image/{each.format}") for each in images]

    def _use(self, tools: list[Any]) -> list[Line]:
        lines: list[Line] = []
        for each in tools:
            self._tools.append(each)
            common = {"tool_call_id": str(each["id"]), "tool_name": str(each["name"])}
            lines.append(UiToolInputStart(**common, provider_executed=True, dynamic=True))
            lines.append(UiToolInputAvailable(**common, input=each["input"], provider_executed=True, dynamic=True))
        return lines

    def _finish_tool(self, result: ToolResult) -> list[Line]:
        if not any(each["id"] == result.id for each in self._tools):
            return []  # the client rejects the result of a tool that it does not know
        if result.status == "error":
            text = "".join(_texts_of(result.content)) or "The tool has failed."
            return [
                UiToolOutputError(tool_call_id=result.id, error_text=text, provider_executed=True, dynamic=True),
            ]
        return [
            UiToolOutputAvailable(tool_call_id=result.id, output=result.content, provider_executed=True, dynamic=True)
        ]

    def _cite(self, citations: list[Any]) -> list[Line]:
        lines: list[Line] = []
        for each in citations:
            url, title = _address_of(each), each.get("title")
            if url is not None:
                lines += self._show(url, title or "")
            elif name := str(title or each.get("source") or ""):
                lines += self._show_document(name)
        return lines

    def _show(self, url: str, title: str) -> list[Line]:
        if url in self._sources:
            return []
        self._sources.add(url)
        return [UiSourceUrl(source_id=f"source-{len(self._sources)}", url=url, title=title or UNSET)]

    def _show_document(self, name: str) -> list[Line]:
        if name in self._sources:
            return []
        self._sources.add(name)
        return [UiSourceDocument(source_id=f"source-{len(self._sources)}", media_type=_DOCUMENT, title=name)]


def _address_of(citation: dict[str, Any]) -> str | None:
    """Return the web address of a citation in Bedrock's form, None where it cites a document without one."""
    match citation:
        case {"location": {"web": {"url": str(url)}}} if url.startswith(_WEB):
            return url
        case {"source": str(source)} if source.startswith(_WEB):
            return source
        case _:
            return None


def _texts_of(content: list[Any]) -> list[str]:
    found: list[str] = []
    for each in content:
        match each:
            case {"text": str(text)}:
                found.append(text)
            case _:
                pass
    return found
