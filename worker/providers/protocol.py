"""The seam between a generation and whoever runs the model."""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, Protocol

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage


@dataclass(frozen=True)
class Tool:
    """The one tool that a model must use; `schema` is the JSON schema (an object's) of its input."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """What a model is asked; `system` holds the instructions, one text a source, the configured first.

    With a `tool` the model is forced to use it, so that the answer is its input and no prose.
    """

    model: str
    messages: tuple[PromptMessage, ...]
    max_tokens: int
    system: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    tool: Tool | None = None


@dataclass(frozen=True)
class Stopped:
    """The model has come to its end; `reason` is one of Bedrock's stop reasons."""

    reason: str


Delta = Chunk | Reasoning | Citation | ToolUse | ToolResult | Stopped | Usage
"""One piece of an answer. A tool's use comes whole; `Usage` follows `Stopped`, where it comes at all."""


@dataclass(frozen=True)
class WholeAnswer:
    """A short answer in one piece. `tool_input` is there where a tool was forced; nobody has held it to its schema."""

    text: str
    tool_input: dict[str, Any] | None
    usage: Usage


class Provider(Protocol):
    """Runs models; one a process, used by any number of greenlets at once."""

    @property
    def name(self) -> str:
        """The name that `status` and the outcome give."""
        ...

    def stream(self, prompt: Prompt) -> Generator[Delta]:
        """Ask the model, once, and yield its answer's deltas; raises `Failure` before or after any of them.

        Closing the generator, or raising in the greenlet that reads it, closes the connection. An end without
        `Stopped` means that the answer is truncated.
        """
        ...

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Ask the model, once, and return its whole answer: for small questions that nobody watches being answered.

        Raises `Failure`, also where the model does not use the tool that it is forced to. Raising in the greenlet
        that waits (`gevent.Timeout`, say) closes the connection.
        """
        ...

    def close(self) -> None:
        """Close the connections that are kept for the next answer; nothing streams any more."""
        ...
