"""A question to the candidates for a model, and what the router tells beside the answer's deltas."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from millrace.worker.contract.events import PaidCall
from millrace.worker.errors import ErrorCode
from millrace.worker.providers.protocol import Prompt
from millrace.worker.settings.catalog import Candidate


@dataclass(frozen=True)
class Answering:
    """This candidate answers: its first content follows. `mode` says how the answer comes."""

    candidate: Candidate
    mode: Literal["live", "chunked", "whole"] = "live"


@dataclass(frozen=True)
class Retrying:
    """A call has failed with this code, and this candidate is asked next, perhaps once more the same one."""

    candidate: Candidate
    code: ErrorCode


@dataclass(frozen=True)
class Paid:
    """A call has failed before any content, and the provider has reported what it used all the same."""

    call: PaidCall


@dataclass(frozen=True)
class Restarted:
    """The answer so far is now exactly this text, and the next deltas follow it."""

    content: str


@dataclass(frozen=True)
class Asked:
    """This prompt is sent now."""

    prompt: Prompt


RouterEvent = Asked | Answering | Paid | Retrying | Restarted


@dataclass(frozen=True)
class Question:
    """A question to the candidates for its model.

    `prompts` yields the prompts for a candidate that is to continue a given text, often an empty one: first the full
    prompt, then shorter ones for a model that rejects it as too long. `prefill` is the text that the answer has so far.
    `text_so_far` returns the text from which an answer that was cut off may continue, or None if it must not.
    """

    candidates: Sequence[Candidate]
    prompts: Callable[[Candidate, str], Iterator[Prompt]]
    prefill: str = ""
    text_so_far: Callable[[], str | None] = lambda: None
