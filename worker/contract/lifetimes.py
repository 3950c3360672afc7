"""Every lifetime and deadline of the contract, in milliseconds, which is the unit that Redis and its scripts take."""

from millrace.worker.settings.schema import Settings

STATE_MS = 25 * 3600 * 1000  # longer than any log (one day at most) and any Idempotency-Key, both of which refer to it
IDEMPOTENCY_KEY_MS = 24 * 3600 * 1000
CREATION_MS = 15_000  # from reserving a generation's place to writing its state; without one after that, it has none
SUSPICION_MS = 3500  # between two looks of a sweep: a stall of Redis is over by then, and living workers have renewed
ENQUEUE_AGAIN_MS = 3000  # a generation without a worker is enqueued again this often
LATE_TAKEOVER_MS = 10_000  # at most; spread, so that a generation that kills its workers does not take others with it
UNREADABLE_AGAIN_MS = 60_000  # a generation whose sweep fails is looked at again only then; others get their turn
WATCHED_MS = 15_000  # a reader's sign of life; renewed by every web process that has readers of the generation
RETENTION_MS = 60_000  # one process in this time deletes expired data
RUN_SLACK_MS = 30_000  # a worker ends an answer at its own limit; the lease's limit only ends a greenlet that hangs


def to_ms(seconds: float) -> int:
    """Return whole milliseconds."""
    return int(seconds * 1000)


def lease_ms(settings: Settings) -> int:
    """Return how long a claim is held without a renewal."""
    return to_ms(settings.generation.lease_seconds)


def run_ms(settings: Settings) -> int:
    """Return how long one attempt may hold a generation, however often it renews."""
    return to_ms(settings.generation.max_seconds) + RUN_SLACK_MS


def queue_ms(settings: Settings) -> int:
    """Return how long a generation may wait for a worker."""
    return to_ms(settings.generation.queue_seconds)


def log_ttl_ms(settings: Settings) -> int:
    """Return how long a log is kept after its `done`."""
    return to_ms(settings.generation.log_ttl_seconds)
