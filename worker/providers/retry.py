"""The pauses between calls of one candidate, and a budget of retries for the whole process."""

import random

BASE_SECONDS = 0.5
MAX_SECONDS = 8.0
BUDGET = 500
RETRY_COST = 5


def backoff_seconds(tries: int) -> float:
    """Return the pause after `tries` failed calls: doubled each time, at most `MAX_SECONDS`, half of it random.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter")
    """
    ceiling = min(MAX_SECONDS, BASE_SECONDS * 2 ** (tries - 1))
    return ceiling / 2 + random.uniform(0, ceiling / 2)


class RetryBudget:
    """Bounds the retries of one process, so that an outage is not multiplied by them; as botocore's retry quota.

    A retry takes `RETRY_COST` from the budget, and each answer puts back one.
    """

    def __init__(self) -> None:
        self._left = BUDGET

    def take(self) -> bool:
        """Take one retry; return False if the budget is spent."""
        if self._left < RETRY_COST:
            return False
        self._left -= RETRY_COST
        return True

    def refund(self) -> None:
        """Count an answer."""
        self._left = min(BUDGET, self._left + 1)
