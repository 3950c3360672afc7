"""The protocol between the router and a provider that runs models. Nothing in it is one vendor's."""

from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from msgspec.structs import replace

from millrace.worker.contract.events import Chunk, Citation, Reasoning, ToolResult, ToolUse, Usage
from millrace.worker.contract.request import PromptMessage
from millrace.worker.providers.stop_reason import StopReason
from millrace.worker.settings.catalog import UNKNOWN_MODEL, ModelTraits
from millrace.worker.text.characters import replace_surrogates


@dataclass(frozen=True)
class Tool:
    """A tool that the model is forced to use; `schema` is the JSON schema of its input, which is an object."""

    name: str
    description: str
    schema: dict[str, Any]


@dataclass(frozen=True)
class Prompt:
    """A request to a model.

    `model` is the provider's id of the model. `system` holds the instructions, one text per source, the configured ones
    first. With a `tool` the model is forced to use it, so that the answer is the tool's input and not prose. With a
    `schema`, a JSON schema, the answer's text is to be JSON that fits. `profile` is the user's, as the user wrote it; a
    model reads it in `system`, and only a service that keeps the two apart takes it from here.

    `metadata` is for the provider's own reports, where it takes any. Lone surrogates are replaced by U+FFFD, because a
    service rejects the whole request for one. The reasoning of a message is that of the same provider and model.
    """

    model: str
    messages: tuple[PromptMessage, ...]
    max_tokens: int
    system: tuple[str, ...] = ()
    temperature: float | None = None
    top_p: float | None = None
    stop_sequences: tuple[str, ...] = ()
    tool: Tool | None = None
    schema: dict[str, Any] | None = None
    profile: str = ""
    traits: ModelTraits = UNKNOWN_MODEL
    metadata: Mapping[str, str] = field(default_factory=dict[str, str])

    def __post_init__(self) -> None:
        """Replace lone surrogates."""
        messages = tuple(replace(each, content=replace_surrogates(each.content)) for each in self.messages)
        object.__setattr__(self, "messages", messages)
        object.__setattr__(self, "profile", replace_surrogates(self.profile))
        for name in ("system", "stop_sequences"):
            object.__setattr__(self, name, tuple(replace_surrogates(text) for text in getattr(self, name)))


@dataclass(frozen=True)
class Started:
    """The response has begun: its status is one of success, and content follows. The first item of every stream."""

    provider: str
    model: str
    mode: Literal["live", "chunked", "whole"] = "live"


@dataclass(frozen=True)
class Stopped:
    """The model has finished."""

    reason: StopReason


@dataclass(frozen=True)
class Details:
    """Facts beside the answer, such as a guardrail's trace or the served tier; shown as the outcome's details."""

    fields: dict[str, Any]


@dataclass(frozen=True)
class OutputImage:
    """An image that the model has made, in whichever format."""

    data: bytes = field(repr=False)


@dataclass(frozen=True)
class ReasoningBlock:
    """A part of the reasoning in the provider's own form, such as a signature; never shown, see `ReasoningState`."""

    block: dict[str, Any]
    is_requested: bool = False


Delta = Chunk | Reasoning | Citation | OutputImage | ToolUse | ToolResult | Stopped | Usage | Details | ReasoningBlock
"""One piece of an answer. A tool use is one delta with its whole input. `Usage` and `Details` follow the content."""


@dataclass(frozen=True)
class WholeAnswer:
    """A short answer in one piece. `tool_input` is set if a tool was forced; it is not validated against the schema."""

    text: str
    tool_input: dict[str, Any] | None
    usage: Usage
    reason: StopReason = "end_turn"


class Provider(Protocol):
    """Runs models. Each process has one, used by any number of greenlets at once."""

    @property
    def name(self) -> str:
        """The name in `MILLRACE_PROVIDERS`, `status` events and outcomes."""
        ...

    def stream(self, prompt: Prompt) -> Generator[Started | Delta]:
        """Call the model once; yield `Started`, then its deltas. Raises ProviderError before or after any of them.

        Closing the generator, or raising in the greenlet that reads it, closes the connection. An end without
        `Stopped` means that the answer is truncated.
        """
        ...

    def answer(self, prompt: Prompt) -> WholeAnswer:
        """Call the model once and return its whole answer: for short answers that no reader follows.

        Raises ProviderError, also if the model does not use the tool that it is forced to use. Raising in the
        waiting greenlet (a `gevent.Timeout`, for example) closes the connection.
        """
        ...

    def close(self) -> None:
        """Close idle connections; no stream is open any more."""
        ...
