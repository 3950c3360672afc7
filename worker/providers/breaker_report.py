"""The report of one call to its candidate's circuit breaker."""

from collections import Counter
from typing import Self

from millrace.worker.contract.breaker import Breaker, Permission
from millrace.worker.errors import ErrorCode, GenerationFailed, ProviderError

_OF_THE_PROVIDER: frozenset[ErrorCode] = frozenset(
    ("provider_unavailable", "provider_timeout", "provider_authentication", "truncated")
)
"""The failures before any content that count for the breaker: another request would fail like this one."""


class BreakerReport:
    """The result of one call, reported to the breaker once: at the first content, or when the block is left.

    `calls` counts the ends of calls by provider and result.
    """

    def __init__(self, breaker: Breaker, permission: Permission, calls: Counter[tuple[str, str]]) -> None:
        self._breaker = breaker
        self._permission = permission
        self._calls = calls
        self._is_sent = False

    def succeeded(self) -> None:
        """Report that the call works."""
        if not self._is_sent:
            self._is_sent = True
            self._breaker.succeeded(self._permission)

    def __enter__(self) -> Self:
        """Return the report."""
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Count how the call has ended, and report it if nothing has been reported."""
        self._calls[self._permission.candidate.partition(":")[0], result_of(error)] += 1
        if self._is_sent:
            return
        if error is None:
            self.succeeded()
        elif isinstance(error, ProviderError) and error.code in _OF_THE_PROVIDER:
            self._breaker.failed(self._permission)
        else:
            self._breaker.abandoned(self._permission)


def result_of(error: BaseException | None) -> str:
    """Return the result of a call as a metric's label: `ok`, an error's code, or `interrupted`."""
    if error is None:
        return "ok"
    if isinstance(error, GenerationFailed):
        return error.code
    return "internal" if isinstance(error, Exception) else "interrupted"
