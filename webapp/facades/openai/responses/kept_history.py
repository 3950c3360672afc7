"""The messages of a request that belongs to no conversation, kept beside the parameters that its response shows.

A request leaves Redis at the end of its answer. The next response may name this one, which needs the messages again.
"""

from typing import Any

import msgspec

from millrace.webapp.services import services
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.contract.state import GenerationState, read_request, read_summary

MAX_CHARS = 32_000
"""The most characters that are kept, as long as the state: a response to more of them cannot be followed."""

_MEMBER = "history"


def keep_history(request: ModelRequest) -> dict[str, Any]:
    """Return the member of the request's echo that keeps its messages; none where they are too long."""
    if sum(len(each.content) for each in request.messages) > MAX_CHARS:
        return {}
    return {_MEMBER: msgspec.to_builtins(request.messages)}


def read_history(state: GenerationState) -> list[PromptMessage] | None:
    """Return the messages of a request, from itself or as they were kept; None where they are gone."""
    streams = services().streams
    request = read_request(streams, state.generation)
    if request is not None:
        return request.messages
    summary = read_summary(streams, state.generation)
    kept = ((summary.echo if summary else None) or {}).get(_MEMBER)
    return None if kept is None else msgspec.convert(kept, list[PromptMessage])
