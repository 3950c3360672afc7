"""Every error that crosses rooms.

MillraceError
├── SettingError               a setting is unknown, has a bad value or contradicts another one; stops the start
├── DependencyUnavailable      a server that this process needs does not serve; the outcome of the last call is unknown
│   ├── RedisUnavailable       Redis does not reply, or replies that it cannot serve
│   ├── RedisKeyInvalid        a key in Redis has another type or content than this project writes
│   ├── QueueUnavailable       the broker does not accept a message
│   └── DatabaseUnavailable    the database does not reply in time, is locked, damaged or not migrated, or rejects
│                              a statement
├── LastAttempt                the claim would be a generation's last attempt, and this process runs one already
└── GenerationFailed           ends a generation with an `error` event of one of the codes in `ErrorCode`
    └── ProviderError          a provider's call failed; another call, or another provider, may still succeed

Errors with one room only derive from `MillraceError` as well: `webapp.problems.Problem` is a response of the web tier.
"""

from typing import Any, Literal

__all__ = [
    "MESSAGES",
    "DatabaseUnavailable",
    "DependencyUnavailable",
    "ErrorCode",
    "GenerationFailed",
    "LastAttempt",
    "MillraceError",
    "ProviderError",
    "QueueUnavailable",
    "RedisKeyInvalid",
    "RedisUnavailable",
    "SettingError",
]

ErrorCode = Literal[
    "provider_unavailable",
    "provider_throttled",
    "provider_timeout",
    "provider_rejected",
    "provider_authentication",
    "malformed_output",
    "content_filtered",
    "context_too_long",
    "truncated",
    "limit_exceeded",
    "empty_answer",
    "worker_lost",
    "queue_timeout",
    "stream_lost",
    "internal",
]
"""The codes of an `error` event."""

MESSAGES: dict[ErrorCode, str] = {
    "provider_unavailable": "The model could not be reached, or its connection was lost. Please try again.",
    "provider_throttled": "The model is busy. Please try again in a moment.",
    "provider_timeout": "The model did not respond in time. Please try again.",
    "provider_rejected": "The model rejected this request, or returned an unreadable answer.",
    "provider_authentication": "The server could not sign in to the model's provider. Please inform its operator.",
    "malformed_output": "The model's answer does not have the requested form. Please try again.",
    "content_filtered": "The answer was stopped by a content filter.",
    "context_too_long": "The conversation is too long for this model.",
    "truncated": "The model's answer was cut off. Please try again.",
    "limit_exceeded": "The answer reached its length or time limit.",
    "empty_answer": "The model returned an empty answer. Please try again.",
    "worker_lost": "The answer was lost because of a server error. Please try again.",
    "queue_timeout": "No worker was free to answer in time. Please try again.",
    "stream_lost": "The answer's stream was lost because of a server error. Please try again.",
    "internal": "An internal error occurred. Please try again.",
}
"""The message of each code: it holds no detail of the system, so it is safe to show to any user."""


class MillraceError(Exception):
    """The root of this project's errors."""


class SettingError(MillraceError):
    """A setting is unknown, has a bad value or contradicts another one.

    The text names the variable and what it takes.
    """


class DependencyUnavailable(MillraceError):
    """A server that this process needs does not serve; the last call may or may not have taken effect."""


class RedisUnavailable(DependencyUnavailable):
    """Redis does not reply, or replies that it cannot serve (read-only, loading, out of memory, busy)."""


class RedisKeyInvalid(DependencyUnavailable):
    """A key in Redis has another type or content than this project writes; it stays so until the key is removed."""


class QueueUnavailable(DependencyUnavailable):
    """The broker does not accept a message."""


class DatabaseUnavailable(DependencyUnavailable):
    """The database does not reply in time, is locked, damaged or not migrated, or rejects a statement."""


class LastAttempt(MillraceError):
    """The claim would be the generation's last attempt, and needs the process's slot for those.

    After one more lost worker the generation ends with `worker_lost`. A process runs one such generation at a time.
    """


class GenerationFailed(MillraceError):
    """Ends a generation with an `error` event.

    `message`, by default the code's, is safe to show. `retryable`: the same request may succeed later. The cause, if
    any, is for the log only.
    """

    def __init__(self, code: ErrorCode, *, retryable: bool, message: str | None = None) -> None:
        super().__init__(message or MESSAGES[code])
        self.code: ErrorCode = code
        self.message = message or MESSAGES[code]
        self.retryable = retryable


class ProviderError(GenerationFailed):
    """A call of a provider failed; the router decides what follows.

    `is_transient`: the same call may be repeated, as long as no part of the answer has been received. `retry_after`:
    the seconds that the provider asks to wait before. `refuses_streaming`: the model gives only whole answers. `usage`:
    the `Usage` that the provider has reported for the call all the same, which is paid for then.
    """

    def __init__(
        self,
        code: ErrorCode,
        *,
        retryable: bool,
        is_transient: bool = False,
        retry_after: float | None = None,
        refuses_streaming: bool = False,
    ) -> None:
        super().__init__(code, retryable=retryable)
        self.is_transient = is_transient
        self.retry_after = retry_after
        self.refuses_streaming = refuses_streaming
        self.usage: Any = None
