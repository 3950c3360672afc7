"""A request to the emulated model, as every wire parses it."""

import json
from dataclasses import dataclass
from typing import Any, cast

Json = dict[str, Any]


@dataclass(frozen=True)
class Turn:
    """The texts of one message; `role` is `user` or `assistant`, whatever the wire calls them."""

    role: str
    texts: tuple[str, ...]


@dataclass(frozen=True)
class ForcedTool:
    """The tool that the caller forces the model to call, and the JSON schema of its input."""

    name: str
    schema: Json


@dataclass(frozen=True)
class EmulatedRequest:
    """A request to the model; `messages`, `system` and `inference` are kept as they were received."""

    operation: str  # the wire's name for it, such as ConverseStream or ChatCompletions
    model: str
    is_streamed: bool
    messages: list[Json]
    turns: tuple[Turn, ...]  # the same messages, without the instructions to the model
    system: Any
    inference: Json
    max_tokens: int | None
    input_tokens: int  # an estimate, see token_counter
    forced_tool: ForcedTool | None = None
    continues_prefill: bool = True  # false: the answer ignores a final assistant message
    schema: Json | None = None  # of the JSON that the answer must be, where the request asks for one
    has_whole_tools: bool = False  # whether the wire sends a tool's input in one piece

    @property
    def prefill(self) -> str:
        """Return the text of a final assistant message, which the answer continues."""
        if not self.continues_prefill or not self.turns or self.turns[-1].role != "assistant":
            return ""
        return "".join(self.turns[-1].texts)

    @property
    def question(self) -> str:
        """Return the last text of the last user message; empty if it has no text."""
        texts = next((turn.texts for turn in reversed(self.turns) if turn.role == "user"), ())
        return texts[-1] if texts else ""


def parse_strict_json(body: bytes) -> Json:
    """Return a body that is a JSON object, as strict parsers read it; raises ValueError for any other.

    A lone surrogate is no Unicode text, so parsers that are not written in Python or JavaScript reject its escape.
    """
    try:
        value = json.loads(body)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError("the JSON is not an object")
    return cast(Json, value)
