"""The answer to a request: its content blocks with their deltas, its stop reason and its token usage. Pure."""

import json
from base64 import b64encode
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal
from uuid import NAMESPACE_OID, uuid5

import msgspec

from deploy.emulator.directive import Directive, ScriptedSource, ScriptedTool, ScriptedUsage, invalid_directive
from deploy.emulator.picture import make_png
from deploy.emulator.request import EmulatedRequest, ForcedTool
from deploy.emulator.signature import sign
from deploy.emulator.text_generator import default_answer, generate_text
from deploy.emulator.tool_input import find_instructed_schema, generate_input

_DEFAULT_TOKENS = 120  # deltas of a generated text
_DEFAULT_CHARS = 4  # characters of a delta
_FIRST_ASTRAL = "\U00010000"  # JSON escapes this and all later characters as surrogate pairs
_EMOJI = "\U0001f600"
_REDACTED = "T25seSB0aGUgdmVuZG9yIGNhbiByZWFkIHRoaXMu"  # in base64, as vendors send it

BlockKind = Literal["reasoning", "redacted", "search", "search_result", "tool", "text", "refusal", "image"]


@dataclass(frozen=True)
class CitedSource:
    """A page that the text cites, and the words in it."""

    title: str
    url: str
    cited: str


@dataclass(frozen=True)
class ContentBlock:
    """One content block and its deltas; each citation, or the `signature`, is sent as one more delta after them.

    A `search` is the use of a tool on the vendor's side; its `search_result` is the JSON of the pages found. The deltas
    of an `image` are in base64.
    """

    kind: BlockKind
    deltas: tuple[str, ...]
    signature: str = ""
    tool_id: str = ""
    tool_name: str = ""
    citations: tuple[CitedSource, ...] = ()

    @property
    def delta_count(self) -> int:
        """Return the number of deltas, including citations and the signature."""
        return len(self.deltas) + len(self.citations) + bool(self.signature)

    @property
    def content(self) -> str:
        """Return all deltas joined."""
        return "".join(self.deltas)

    @property
    def tool_input(self) -> Any:
        """Return the parsed input of a tool block, or an empty object if `max_tokens` has cut its JSON short."""
        try:
            return json.loads(self.content)
        except ValueError:
            return {}


@dataclass(frozen=True)
class TokenUsage:
    """Token counts: input without cached tokens, output with reasoning; a delta counts as one output token."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True)
class EmulatedAnswer:
    """A complete answer of the emulated model; each block has at least one delta.

    Scripted `events`, each a name and its payload, are sent in place of the stream, and a scripted `response` in place
    of the JSON. `finish_reason` is the wire's own word, in place of the one that `stop_reason` maps to, and
    `blocked` its word for why it does not answer the prompt.
    """

    blocks: tuple[ContentBlock, ...]
    stop_reason: str
    usage: TokenUsage
    finish_reason: str | msgspec.UnsetType | None = msgspec.UNSET
    reasoning_field: str = ""
    blocked: str = ""
    events: tuple[tuple[str, Any], ...] | None = None
    response: Any = msgspec.UNSET

    @property
    def delta_count(self) -> int:
        """Return the number of deltas in all blocks, or of the scripted events."""
        if self.events is not None:
            return len(self.events)
        return sum(block.delta_count for block in self.blocks)


def make_answer(request: EmulatedRequest, directive: Directive | None) -> EmulatedAnswer:
    """Return the answer to a request, as scripted by its directive if it has one.

    If the text begins with the request's prefill, the answer is only the rest of the text. `max_tokens` limits the
    number of deltas, because a delta counts as a token. Raises ServiceError for a directive that contradicts itself.
    """
    answer = _make_answer(request, directive)
    if directive is None:
        return answer
    events = None if directive.events is None else tuple(item for event in directive.events for item in event.items())
    return replace(
        answer,
        events=events,
        response=directive.response,
        finish_reason=directive.finish_reason,
        reasoning_field=directive.reasoning_field or "",
        blocked=directive.blocked or "",
    )


def _make_answer(request: EmulatedRequest, directive: Directive | None) -> EmulatedAnswer:
    script = directive or Directive()
    if request.forced_tool:
        return _forced_tool_answer(request, script, request.forced_tool)
    deltas = _text_deltas(request, script) if directive else _default_deltas(request)
    is_prefilled = bool(request.prefill) and "".join(deltas).startswith(request.prefill)
    if is_prefilled:
        deltas = _skip_chars(deltas, len(request.prefill))
    sources = _sources(script)
    text = ContentBlock("text", _split_surrogates(deltas) if script.split_surrogates else deltas, citations=sources)
    refusal = ContentBlock("refusal", _split_every(script.refusal or "", script.chars or _DEFAULT_CHARS))
    thought = [_reasoning_block(request, script), _redacted_block(script)]
    before = [] if is_prefilled else [*thought, *_search_blocks(request, sources), *_tool_blocks(request, script)]
    after = _image_block(request, script)
    candidates = [] if script.blocked else [*before, text if script.refusal is None else refusal, after]
    blocks, is_cut = _limit([block for block in candidates if block and block.delta_count], request.max_tokens)
    stop_reason = "max_tokens" if is_cut else _stop_reason(script)
    return EmulatedAnswer(blocks, stop_reason, _usage(request, blocks, script.usage))


def _default_deltas(request: EmulatedRequest) -> tuple[str, ...]:
    schema = request.schema or find_instructed_schema(request.question)
    if schema is None:
        return default_answer(request.question, request.model)
    return (json.dumps(generate_input(schema, request.turns)),)


def _forced_tool_answer(request: EmulatedRequest, script: Directive, forced_tool: ForcedTool) -> EmulatedAnswer:
    """Return a call of the forced tool, with the scripted input or one generated from its schema."""
    scripted = script.tool if isinstance(script.tool, ScriptedTool) else ScriptedTool()
    value = generate_input(forced_tool.schema, request.turns) if scripted.input is None else scripted.input
    tool = _tool_block(request, ScriptedTool(forced_tool.name, value, scripted.arguments, scripted.id))
    blocks, is_cut = _limit([tool], request.max_tokens)
    stop_reason = "max_tokens" if is_cut else script.stop_reason or scripted.stop_reason or "tool_use"
    return EmulatedAnswer(blocks, stop_reason, _usage(request, blocks, script.usage))


def _text_deltas(request: EmulatedRequest, script: Directive) -> tuple[str, ...]:
    if script.deltas is not None:
        if script.text is not None or script.tokens is not None or script.chars is not None:
            raise invalid_directive("`deltas` cannot be combined with `text`, `tokens` or `chars`")
        return tuple(script.deltas)
    if script.text is None:
        return _generated_deltas(request, script)
    if script.tokens is None:
        return _split_every(script.text, script.chars or _DEFAULT_CHARS)
    return _split_into(script.text, script.tokens)


def _generated_deltas(request: EmulatedRequest, script: Directive) -> tuple[str, ...]:
    tokens = _DEFAULT_TOKENS if script.tokens is None else script.tokens
    chars = script.chars or _DEFAULT_CHARS
    text = generate_text(request.question, tokens * chars)
    if script.split_surrogates and text:
        middle = len(text) // 2
        text = text[:middle] + _EMOJI + text[middle + 1 :]
    return _split_every(text, chars)


def _split_every(text: str, chars: int) -> tuple[str, ...]:
    return tuple(text[start : start + chars] for start in range(0, len(text), chars))


def _split_into(text: str, count: int) -> tuple[str, ...]:
    """Split a text into `count` deltas of nearly equal length, or fewer if it has fewer characters."""
    count = min(max(count, 1), len(text))
    bounds = [len(text) * index // count for index in range(count + 1)] if count else [0]
    return tuple(text[start:end] for start, end in pairwise(bounds))


def _split_surrogates(deltas: tuple[str, ...]) -> tuple[str, ...]:
    """Cut each delta in the middle of its last emoji; the low surrogate begins the next delta."""
    split: list[str] = []
    carried = ""
    for delta in deltas:
        joined = carried + delta
        place = max((index for index, char in enumerate(joined) if char >= _FIRST_ASTRAL), default=None)
        if place is None:
            split.append(joined)
            carried = ""
        else:
            high, low = divmod(ord(joined[place]) - 0x10000, 0x400)
            split.append(joined[:place] + chr(0xD800 + high))
            carried = chr(0xDC00 + low) + joined[place + 1 :]
    return (*split, carried) if carried else tuple(split)


def _skip_chars(deltas: tuple[str, ...], skip: int) -> tuple[str, ...]:
    """Drop the first `skip` characters and keep the other boundaries between deltas."""
    rest: list[str] = []
    for delta in deltas:
        if skip < len(delta) or not (skip or delta):
            rest.append(delta[skip:])
        skip = max(0, skip - len(delta))
    return tuple(rest)


def _reasoning_block(request: EmulatedRequest, script: Directive) -> ContentBlock | None:
    if not script.reasoning:
        return None
    seed = f"reasoning {request.question}"
    text = script.reasoning if isinstance(script.reasoning, str) else generate_text(seed, 12 * _DEFAULT_CHARS)
    return ContentBlock("reasoning", _split_every(text, script.chars or _DEFAULT_CHARS), signature=sign(text))


def _redacted_block(script: Directive) -> ContentBlock | None:
    data = script.redacted if isinstance(script.redacted, str) else _REDACTED
    return ContentBlock("redacted", (data,)) if script.redacted else None


def _image_block(request: EmulatedRequest, script: Directive) -> ContentBlock | None:
    """Return an image whose deltas are in base64, each of them alone."""
    if not script.image:
        return None
    given = script.image if isinstance(script.image, str) else b64encode(make_png(request.question)).decode("ascii")
    middle = len(given) // 8 * 4
    return ContentBlock("image", (given,) if request.has_whole_tools else (given[:middle], given[middle:]))


def _sources(script: Directive) -> tuple[CitedSource, ...]:
    pages = script.search if isinstance(script.search, list) else [ScriptedSource()] * script.search
    return tuple(CitedSource(page.title, page.url, page.cited) for page in pages)


def _search_blocks(request: EmulatedRequest, sources: tuple[CitedSource, ...]) -> list[ContentBlock]:
    """Return the use of a web search and the pages that it has found."""
    if not sources:
        return []
    use = _tool_block(request, ScriptedTool("web_search", {"query": sources[0].title}))
    found = json.dumps([{"title": source.title, "url": source.url} for source in sources])
    search_id = f"srv{use.tool_id}"
    return [
        ContentBlock("search", use.deltas, tool_id=search_id, tool_name=use.tool_name),
        ContentBlock("search_result", (found,), tool_id=search_id),
    ]


def _tool_blocks(request: EmulatedRequest, script: Directive) -> list[ContentBlock]:
    tools = list(script.tools)
    if script.tool:
        tools.insert(0, script.tool if isinstance(script.tool, ScriptedTool) else ScriptedTool())
    return [_tool_block(request, tool, place) for place, tool in enumerate(tools)]


def _tool_block(request: EmulatedRequest, tool: ScriptedTool, place: int = 0) -> ContentBlock:
    value = {"query": "the height of the weir", "limit": 3} if tool.input is None else tool.input
    text = json.dumps(value) if tool.arguments is None else tool.arguments
    seed = f"{place or ''}{request.question!a}"
    tool_id = tool.id or f"tooluse_{uuid5(NAMESPACE_OID, seed).hex[:22]}"
    deltas = (text,) if request.has_whole_tools else _split_into(text, max(3, len(text) // 12))
    return ContentBlock("tool", deltas, tool_id=tool_id, tool_name=tool.name)


def _limit(blocks: list[ContentBlock], limit: int | None) -> tuple[tuple[ContentBlock, ...], bool]:
    """Return the first `limit` deltas of the blocks, and whether any deltas were dropped."""
    if limit is None or sum(block.delta_count for block in blocks) <= limit:
        return tuple(blocks), False
    kept: list[ContentBlock] = []
    for block in blocks:
        if limit >= block.delta_count:
            kept.append(block)
        elif limit:
            kept.append(replace(block, deltas=block.deltas[:limit], citations=(), signature=""))
        limit = max(0, limit - block.delta_count)
    return tuple(kept), True


def _stop_reason(script: Directive) -> str:
    if script.stop_reason:
        return script.stop_reason
    if isinstance(script.tool, ScriptedTool) and script.tool.stop_reason:
        return script.tool.stop_reason
    return "end_turn"


def _usage(request: EmulatedRequest, blocks: tuple[ContentBlock, ...], scripted: ScriptedUsage | None) -> TokenUsage:
    script = scripted or ScriptedUsage()
    read, write = script.cacheReadInputTokens, script.cacheWriteInputTokens
    counted_out = sum(block.delta_count for block in blocks)
    tokens_in = request.input_tokens if script.inputTokens is None else script.inputTokens
    tokens_out = counted_out if script.outputTokens is None else script.outputTokens
    total = tokens_in + tokens_out + read + write if script.totalTokens is None else script.totalTokens
    thought = sum(block.delta_count for block in blocks if block.kind == "reasoning")
    reasoning = min(thought, tokens_out) if script.reasoningTokens is None else script.reasoningTokens
    return TokenUsage(tokens_in, tokens_out, total, read, write, reasoning)
