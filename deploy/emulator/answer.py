"""Decide what is answered: the blocks of an answer, their deltas, its stop reason and its usage. Pure."""

import json
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal
from uuid import NAMESPACE_OID, uuid5

from deploy.emulator.directive import Directive, Tool, refused
from deploy.emulator.directive import Usage as ScriptedUsage
from deploy.emulator.forced import input_for
from deploy.emulator.request import Forced, Request
from deploy.emulator.words import made_up, plain_answer

PLAIN_RATE = 40.0  # deltas a second where nothing is scripted: one sees it stream, and nobody waits long
_TOKENS = 120
_CHARS = 4
_FIRST_ASTRAL = "\U00010000"  # from here on a character is a surrogate pair in JSON's escapes
_EMOJI = "\U0001f600"

BlockKind = Literal["reasoning", "tool", "text"]


@dataclass(frozen=True)
class Block:
    """One content block and its deltas; a `signature` is a delta more, the last one."""

    kind: BlockKind
    deltas: tuple[str, ...]
    signature: str = ""
    tool_id: str = ""
    tool_name: str = ""

    @property
    def length(self) -> int:
        """Return how many deltas the block has."""
        return len(self.deltas) + bool(self.signature)

    @property
    def content(self) -> str:
        """Return the deltas put together."""
        return "".join(self.deltas)


@dataclass(frozen=True)
class Usage:
    """Tokens: a delta counts as one, and so do four bytes of the request."""

    input_tokens: int
    output_tokens: int
    total_tokens: int
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True)
class Answer:
    """All that a model would have said; no block in it is without a delta."""

    blocks: tuple[Block, ...]
    stop_reason: str
    usage: Usage

    @property
    def length(self) -> int:
        """Return how many deltas the answer has."""
        return sum(block.length for block in self.blocks)


def answer_to(request: Request, directive: Directive | None) -> Answer:
    """Return the answer to a request, as its directive says where it has one.

    Where the caller has put the beginning of its text into the model's mouth, it is only the rest. `max_tokens` cuts
    it, one delta being one token. Raises ServiceError for a directive that contradicts itself.
    """
    script = directive or Directive()
    if request.forced:
        return _forced(request, script, request.forced)
    deltas = _text_deltas(request, script) if directive else plain_answer(request.question, request.model)
    is_begun = bool(request.prefill) and "".join(deltas).startswith(request.prefill)
    if is_begun:
        deltas = _after(deltas, len(request.prefill))
    text = Block("text", _across_pairs(deltas) if script.split_surrogates else deltas)
    candidates = [text] if is_begun else [_reasoning(request, script), _tool(request, script), text]
    blocks, is_cut = _limited([block for block in candidates if block and block.length], request.max_tokens)
    stop_reason = "max_tokens" if is_cut else _stop_reason(script)
    return Answer(blocks, stop_reason, _usage(request, blocks, script.usage))


def _forced(request: Request, script: Directive, forced: Forced) -> Answer:
    """Return the use of the tool that was forced, with the scripted input or one that is made by its schema."""
    scripted = script.tool if isinstance(script.tool, Tool) else Tool()
    value = input_for(forced.schema, request.messages) if scripted.input is None else scripted.input
    tool = _tool(request, Directive(tool=Tool(forced.name, value, scripted.id)))
    blocks, is_cut = _limited([tool] if tool else [], request.max_tokens)
    stop_reason = "max_tokens" if is_cut else script.stop_reason or scripted.stop_reason or "tool_use"
    return Answer(blocks, stop_reason, _usage(request, blocks, script.usage))


def _text_deltas(request: Request, script: Directive) -> tuple[str, ...]:
    if script.deltas is not None:
        if script.text is not None or script.tokens is not None or script.chars is not None:
            raise refused("`deltas` stands alone, without `text`, `tokens` or `chars`")
        return tuple(script.deltas)
    if script.text is None:
        return _generated(request, script)
    if script.tokens is None:
        return _cut(script.text, script.chars or _CHARS)
    return _cut_into(script.text, script.tokens)


def _generated(request: Request, script: Directive) -> tuple[str, ...]:
    tokens = _TOKENS if script.tokens is None else script.tokens
    chars = script.chars or _CHARS
    text = made_up(request.question, tokens * chars)
    if script.split_surrogates and text:
        middle = len(text) // 2
        text = text[:middle] + _EMOJI + text[middle + 1 :]
    return _cut(text, chars)


def _cut(text: str, chars: int) -> tuple[str, ...]:
    return tuple(text[start : start + chars] for start in range(0, len(text), chars))


def _cut_into(text: str, count: int) -> tuple[str, ...]:
    """Cut a text into `count` deltas of nearly one length; into fewer where it has too few characters."""
    count = min(max(count, 1), len(text))
    bounds = [len(text) * index // count for index in range(count + 1)] if count else [0]
    return tuple(text[start:end] for start, end in pairwise(bounds))


def _across_pairs(deltas: tuple[str, ...]) -> tuple[str, ...]:
    """Let each delta that holds an emoji end in the middle of its last one: the rest of it opens the next delta."""
    cut: list[str] = []
    carried = ""
    for delta in deltas:
        whole = carried + delta
        place = max((index for index, char in enumerate(whole) if char >= _FIRST_ASTRAL), default=None)
        if place is None:
            cut.append(whole)
            carried = ""
        else:
            high, low = divmod(ord(whole[place]) - 0x10000, 0x400)
            cut.append(whole[:place] + chr(0xD800 + high))
            carried = chr(0xDC00 + low) + whole[place + 1 :]
    return (*cut, carried) if carried else tuple(cut)


def _after(deltas: tuple[str, ...], skip: int) -> tuple[str, ...]:
    """Leave out the first characters, and leave the rest cut as it was."""
    rest: list[str] = []
    for delta in deltas:
        if skip < len(delta) or not (skip or delta):
            rest.append(delta[skip:])
        skip = max(0, skip - len(delta))
    return tuple(rest)


def _reasoning(request: Request, script: Directive) -> Block | None:
    if not script.reasoning:
        return None
    seed = f"reasoning {request.question}"
    text = script.reasoning if isinstance(script.reasoning, str) else made_up(seed, 12 * _CHARS)
    return Block("reasoning", _cut(text, script.chars or _CHARS), signature=uuid5(NAMESPACE_OID, ascii(text)).hex)


def _tool(request: Request, script: Directive) -> Block | None:
    if not script.tool:
        return None
    tool = script.tool if isinstance(script.tool, Tool) else Tool()
    value = {"query": "the height of the weir", "limit": 3} if tool.input is None else tool.input
    text = json.dumps(value)
    tool_id = tool.id or f"tooluse_{uuid5(NAMESPACE_OID, ascii(request.question)).hex[:22]}"
    return Block("tool", _cut_into(text, max(3, len(text) // 12)), tool_id=tool_id, tool_name=tool.name)


def _limited(blocks: list[Block], limit: int | None) -> tuple[tuple[Block, ...], bool]:
    """Return the blocks' first `limit` deltas, and whether that left any out."""
    if limit is None or sum(block.length for block in blocks) <= limit:
        return tuple(blocks), False
    kept: list[Block] = []
    for block in blocks:
        if limit >= block.length:
            kept.append(block)
        elif limit:
            kept.append(replace(block, deltas=block.deltas[:limit], signature=""))
        limit = max(0, limit - block.length)
    return tuple(kept), True


def _stop_reason(script: Directive) -> str:
    if script.stop_reason:
        return script.stop_reason
    if isinstance(script.tool, Tool) and script.tool.stop_reason:
        return script.tool.stop_reason
    return "end_turn"


def _usage(request: Request, blocks: tuple[Block, ...], scripted: ScriptedUsage | None) -> Usage:
    script = scripted or ScriptedUsage()
    read, write = script.cacheReadInputTokens, script.cacheWriteInputTokens
    counted_out = sum(block.length for block in blocks)
    tokens_in = request.input_tokens if script.inputTokens is None else script.inputTokens
    tokens_out = counted_out if script.outputTokens is None else script.outputTokens
    total = tokens_in + tokens_out + read + write if script.totalTokens is None else script.totalTokens
    return Usage(tokens_in, tokens_out, total, read, write)
