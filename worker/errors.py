"""The errors that cross rooms.

MillraceError
├── SettingError        a setting is unknown or has a bad value; stops the start
├── RedisUnavailable           Redis does not answer, or answers that it can't serve (read-only, loading, out of memory, busy)
├── QueueUnavailable           the broker does not take the ring
├── DatabaseUnavailable           the database does not answer in time, is locked, or has not been migrated
├── LastAttempt          a generation may be claimed only by a process that has its seat for such free
└── GenerationFailed      ends a generation with an `error` event: `code`, text safe to show, may it be retried
"""


class MillraceError(Exception):
    """The root of this project's own errors."""


class SettingError(MillraceError):
    """A setting is unknown or has a bad value; the text names the variable and what it takes."""


class RedisUnavailable(MillraceError):
    """Redis can't serve just now; nothing is known of whether the last command took effect."""


class QueueUnavailable(MillraceError):
    """The broker did not take a ring; nothing is known of whether it took effect."""


class DatabaseUnavailable(MillraceError):
    """The database can't serve just now; nothing is known of whether the last transaction took effect."""


class LastAttempt(MillraceError):
    """One more loss of its worker is the generation's end: it is claimed with a seat, and waits for it."""


class GenerationFailed(MillraceError):
    """Ends a generation with an `error` event.

    `code` is one of the protocol's error codes, `message` is safe to show to anybody, `retryable` tells whether
    asking the same again may succeed. The cause, if any, is for the log only.
    """

    def __init__(self, code: str, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.retryable = retryable
