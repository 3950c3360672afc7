"""The features of a request that models have refused, and the order in which a request is made without them.

Not every model and server takes a forced tool, an output format, cache points or a limit of a certain name, and no list
says which. A provider asks with the feature; if the request is refused and accepted without it, this process leaves the
feature out for the model, until it is worth another try.
"""

import time
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar

from millrace.worker.observability.logs import get_logger

LIFE_SECONDS = 6 * 3600.0  # then the feature is tried again: servers are updated, and a refusal may have been passing
MAX_REFUSALS = 1000

F = TypeVar("F", bound=Hashable)
T = TypeVar("T")

_log = get_logger(__name__)


class RefusedFeatures(Generic[F]):
    """The features that models have refused, in one process. Beyond `MAX_REFUSALS` the oldest are forgotten."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._refused_at: dict[tuple[str, F], float] = {}

    def add(self, model: str, features: Iterable[F]) -> None:
        """Leave these features out for a model from now on; call it once the model has accepted a request without."""
        for feature in features:
            self._refused_at.pop((model, feature), None)
            self._refused_at[model, feature] = self._clock()
            _log.warning("model_refuses_feature", model=model, feature=feature)
        for oldest in list(self._refused_at)[:-MAX_REFUSALS]:
            del self._refused_at[oldest]

    def has(self, model: str, feature: F) -> bool:
        """Return whether the model has refused the feature, and not long ago."""
        refused_at = self._refused_at.get((model, feature))
        if refused_at is None:
            return False
        if self._clock() - refused_at < LIFE_SECONDS:
            return True
        del self._refused_at[model, feature]
        return False


def ask_in_turn(
    forms: Sequence[F], call: Callable[[F], T], may_refuse: Callable[[Exception], bool]
) -> tuple[T, list[F], F]:
    """Call with each form until one is accepted; return the result, the forms that were refused, and the accepted one.

    Raises the first error if all forms are refused, and at once any error that `may_refuse` does not accept.
    """
    first: Exception | None = None
    for at, form in enumerate(forms):
        try:
            return call(form), [*forms[:at]], form
        except Exception as error:
            first = first or error
            if not may_refuse(error):
                raise
    assert first is not None, "there is a form at least"
    raise first
