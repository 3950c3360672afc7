"""The protocol of context sources: a source receives a question and returns a `ContextPart`, or None.

To write a source of your own, copy `search/source.py` and name it in `MILLRACE_CONTEXT` as `package.module:name`.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from millrace.worker.contract.events import PaidCall
from millrace.worker.contract.request import ModelRequest, PromptMessage

_KIND = re.compile(r"[a-z_]{1,40}")


def _do_nothing() -> None:
    return


def _ignore(_call: PaidCall) -> None:
    return


@dataclass(frozen=True)
class ContextQuestion:
    """The question that sources find context for.

    `answer_id` is the id of the message that will hold the answer. `question_id` is the id of the question's message,
    None if the question belongs to no conversation. A source calls `on_search` before it searches the web, so that the
    reader sees the status `searching`, and `on_paid_call` with each call of a model that it has made, for the receipt.
    """

    generation: str
    owner: str
    conversation: str
    answer_id: str
    request: ModelRequest
    question_id: str | None = None
    on_search: Callable[[], None] = _do_nothing
    on_paid_call: Callable[[PaidCall], None] = _ignore

    @property
    def is_standalone(self) -> bool:
        """Whether the question belongs to no conversation, or its request contains its own history."""
        return self.question_id is None or len(self.request.messages) > 1

    @property
    def text(self) -> str:
        """The question itself: the last message of the request."""
        return self.request.messages[-1].content


@dataclass(frozen=True)
class Material:
    """A text that others wrote, which is escaped in the prompt.

    `kind` names its element: lower-case letters and underscores. A material with a `url` is listed as a source to the
    reader.
    """

    kind: str
    text: str
    title: str = ""
    url: str = ""

    def __post_init__(self) -> None:
        """Raise ValueError for a kind that cannot name an element."""
        if not _KIND.fullmatch(self.kind):
            raise ValueError("the kind of a material takes lower-case letters and underscores")


@dataclass(frozen=True)
class ContextPart:
    """One source's contribution. Everything except `instructions` is shortened to the prompt's token budget.

    The model trusts `instructions` like the configured system prompt: never put text there that others wrote.
    `slots` is the conversation's JSON context; if several sources return one, the last counts. `updated` holds the
    slots that this question changed.
    """

    instructions: str = ""
    history: tuple[PromptMessage, ...] = ()
    materials: tuple[Material, ...] = ()
    about_user: str = ""
    assistant_name: str = ""
    slots: Mapping[str, Any] | None = None
    intent: str | None = None
    updated: Mapping[str, Any] | None = None


class ContextSource(Protocol):
    """One kind of context. Each process has one instance, used by any number of greenlets at once."""

    @property
    def name(self) -> str:
        """The name in the log; unique among the sources of a process."""
        ...

    @property
    def seconds(self) -> float:
        """The time limit of `gather`, which is then interrupted by a `gevent.Timeout` wherever it waits."""
        ...

    def gather(self, question: ContextQuestion) -> ContextPart | None:
        """Return the context for this question, None if there is none.

        An exception is logged by its type and counted, and the answer continues without this source.
        """
        ...


@dataclass(frozen=True)
class GatheredContext:
    """The parts of all sources, by name and in the order of the sources, and the number of sources that failed."""

    parts: Mapping[str, ContextPart] = field(default_factory=dict[str, ContextPart])
    failed: int = 0

    @property
    def history(self) -> tuple[PromptMessage, ...]:
        """The messages before the question, oldest first."""
        return tuple(message for part in self.parts.values() for message in part.history)

    @property
    def materials(self) -> tuple[Material, ...]:
        """All materials, in the order of the sources."""
        return tuple(material for part in self.parts.values() for material in part.materials)

    @property
    def slots(self) -> Mapping[str, Any] | None:
        """The conversation's JSON context."""
        return next((part.slots for part in reversed([*self.parts.values()]) if part.slots is not None), None)


NO_CONTEXT = GatheredContext()
