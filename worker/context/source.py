"""The seam between an answer and what it is built on: a source is asked about a question and gives a piece, or nothing.

Copy `search/source.py` for one of your own and name it in `MILLRACE_CONTEXT` as `package.module:name`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from millrace.worker.contract.request import ModelRequest, PromptMessage

_KIND = re.compile(r"[a-z_]{1,40}")


def _say_nothing() -> None:
    return


@dataclass(frozen=True)
class ContextQuestion:
    """What a source may go by. `text` is the message to be answered, the last one of the request's.

    `message` is the answer's id, `asked` the question's, None where the question belongs to no conversation.
    """

    generation: str
    owner: str
    conversation: str
    message: str
    request: ModelRequest
    asked: str | None = None
    say_searching: Callable[[], None] = _say_nothing

    @property
    def is_alone(self) -> bool:
        """Whether the question belongs to no conversation, or brings its own history."""
        return self.asked is None or len(self.request.messages) > 1

    @property
    def text(self) -> str:
        """The message to be answered."""
        return self.request.messages[-1].content


@dataclass(frozen=True)
class Material:
    """A text that somebody else has written; it gets a place in the prompt that it can't leave.

    `kind` names it for the model, in lower case and underscores. What has a `url` is told to the reader as a source.
    """

    kind: str
    text: str
    title: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a kind that could not name an element."""
        if not _KIND.fullmatch(self.kind):
            raise ValueError("a kind of material is of lower case letters and underscores")


@dataclass(frozen=True)
class ContextPart:
    """What a source adds. All of it is cut to the prompt's budget, the instructions excepted.

    `instructions` are believed by the model as much as the configured ones: nothing that others wrote belongs there.
    `slots` is the conversation's JSON context, the last source's that gives one.
    """

    instructions: str = ""
    history: tuple[PromptMessage, ...] = ()
    materials: tuple[Material, ...] = ()
    about_user: str = ""
    assistant_name: str = ""
    slots: Mapping[str, Any] | None = None
    intent: str | None = None
    updated: Mapping[str, Any] | None = None


class Source(Protocol):
    """One kind of context; one a process, asked by any number of greenlets at once, beside the other sources."""

    @property
    def name(self) -> str:
        """The name that the log gives it."""
        ...

    @property
    def seconds(self) -> float:
        """How long an answer waits for it; it is cut off wherever it waits by then, by a `gevent.Timeout`."""
        ...

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return what there is for this question, None where there is nothing.

        Whatever it raises is logged by its kind and counted, and the answer goes on without.
        """
        ...


@dataclass(frozen=True)
class Gathered:
    """What the sources gave, by their names and in their order, and how many of them failed."""

    pieces: Mapping[str, ContextPart] = field(default_factory=dict[str, ContextPart])
    failed: int = 0

    @property
    def history(self) -> tuple[PromptMessage, ...]:
        """The messages before the question, oldest first."""
        return tuple(message for piece in self.pieces.values() for message in piece.history)

    @property
    def materials(self) -> tuple[Material, ...]:
        """All that others have written."""
        return tuple(material for piece in self.pieces.values() for material in piece.materials)

    @property
    def slots(self) -> Mapping[str, Any] | None:
        """The conversation's JSON context."""
        return next((piece.slots for piece in reversed([*self.pieces.values()]) if piece.slots is not None), None)


NOTHING = Gathered()
