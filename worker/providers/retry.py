"""Retries of a model call, only before the first delta: a later one would be billed twice and repeat published text."""

import random
from collections.abc import Callable, Generator
from contextlib import closing

from millrace.worker.contract.events import Chunk, Reasoning
from millrace.worker.errors import ProviderError
from millrace.worker.providers.protocol import Delta, Prompt, Provider, Started

BASE_SECONDS = 0.5
MAX_SECONDS = 8.0


def backoff_seconds(tries: int) -> float:
    """Return the pause after `tries` failed calls: doubled each time, at most `MAX_SECONDS`, half of it random.

    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/ ("equal jitter")
    """
    ceiling = min(MAX_SECONDS, BASE_SECONDS * 2 ** (tries - 1))
    return ceiling / 2 + random.uniform(0, ceiling / 2)


def stream_with_retries(
    provider: Provider,
    prompt: Prompt,
    max_tries: int,
    on_retry: Callable[[ProviderError], object],
    wait: Callable[[float], object],
) -> Generator[Delta]:
    """Yield the answer's deltas; retry a transient failure before the first one, up to `max_tries` calls.

    Empty deltas are left out. `on_retry` is called with the failure before each pause, `wait` with the seconds of the
    pause. Raises the last ProviderError.
    """
    for tries in range(1, max_tries + 1):
        has_begun = False
        try:
            with closing(provider.stream(prompt)) as deltas:
                for delta in deltas:
                    if isinstance(delta, Started):
                        continue
                    if isinstance(delta, Chunk | Reasoning) and not delta.content:
                        continue  # no beginning: the call may still be repeated
                    has_begun = True
                    yield delta
        except ProviderError as failure:
            if has_begun or not failure.is_transient or tries == max_tries:
                raise
            on_retry(failure)
        else:
            return
        wait(backoff_seconds(tries))
