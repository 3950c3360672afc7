"""Asks again, patiently, as long as nothing of the answer has come: later it would be paid and read twice."""

import random
from collections.abc import Callable, Generator
from contextlib import closing

from millrace.worker.errors import GenerationFailed
from millrace.worker.providers.protocol import Delta, Prompt, Provider

FIRST_SECONDS = 0.5
MOST_SECONDS = 8.0


def backoff_seconds(tries: int) -> float:
    """Return how long to wait after so many tries: doubled each time, bounded, and half of it by chance.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter")
    """
    whole = min(MOST_SECONDS, FIRST_SECONDS * 2 ** (tries - 1))
    return whole / 2 + random.uniform(0, whole / 2)


def stream_patiently(
    provider: Provider,
    prompt: Prompt,
    tries: int,
    on_retry: Callable[[GenerationFailed], object],
    wait: Callable[[float], object],
) -> Generator[Delta]:
    """Yield the answer's deltas; ask at most `tries` times until the first of them has come.

    `on_retry` is called before each wait, with the failure. Raises the last `Failure`.
    """
    for tried in range(1, tries + 1):
        has_begun = False
        try:
            with closing(provider.stream(prompt)) as deltas:
                for delta in deltas:
                    has_begun = True
                    yield delta
        except GenerationFailed as failure:
            if has_begun or not failure.is_transient or tried == tries:
                raise
            on_retry(failure)
        else:
            return
        wait(backoff_seconds(tried))
