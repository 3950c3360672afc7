"""The place that a new answer takes among those that its owner has running."""

from collections.abc import Generator
from contextlib import contextmanager, suppress

from millrace.webapp.problems import Problem
from millrace.webapp.services import Services
from millrace.worker.contract.active_generations import acquire_slot, release_slot
from millrace.worker.contract.state import read_state
from millrace.worker.errors import RedisUnavailable

RETRY_SECONDS = 5


@contextmanager
def place_for(services: Services, owner: str, generation: str) -> Generator[None]:
    """Take a place for a generation that is made within; given back where it is not. Raises Problem 429, RedisUnavailable."""
    most = services.settings.limits.max_active_per_user
    is_in = acquire_slot(services.redis, owner, generation, most)
    if not is_in and read_state(services.redis, generation) is None:  # one that is there already is only told again
        detail = f"You have {most} answers running already. Wait for one of them to end, or stop one."
        raise Problem(429, "too_many_active", detail, retry_after=RETRY_SECONDS)
    try:
        yield
    except Exception:
        with suppress(RedisUnavailable):  # then it is found to have never begun
            release_slot(services.redis, owner, generation)
        raise
