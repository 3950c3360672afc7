"""Why a model has stopped, in one vocabulary for all providers, and which reasons end an answer in an error."""

from typing import Literal

from millrace.worker.errors import ErrorCode, ProviderError

StopReason = Literal[
    "end_turn",
    "max_tokens",
    "stop_sequence",
    "tool_use",
    "content_filtered",
    "refused",
    "context_exceeded",
    "malformed",
    "other",
]
"""`malformed`: the model's output breaks its own form. `other`: a reason that the provider's mapping does not know."""

CUT_OFF_REASONS: tuple[StopReason, ...] = ("max_tokens", "context_exceeded", "content_filtered", "refused")
"""The reasons that may cut off an answer within the input of a tool, which is left out then."""

_FAILURES: dict[StopReason, tuple[ErrorCode, bool]] = {
    "content_filtered": ("content_filtered", False),
    "refused": ("content_filtered", False),
    "context_exceeded": ("context_too_long", False),
    "malformed": ("provider_rejected", True),  # sampling is random: the same question may succeed
}
"""The reasons that end an answer in an error: its code, and whether the user may retry."""


def failure_of(reason: StopReason) -> ProviderError | None:
    """Return the failure of an answer that has stopped for this reason, None if the answer is complete."""
    failure = _FAILURES.get(reason)
    return ProviderError(failure[0], retryable=failure[1]) if failure else None
