"""How long generations have waited for a worker, which is the signal to start more workers."""

from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import translate_redis_errors
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_states


def oldest_waiting_seconds(streams: Streams, task_queue: TaskQueue) -> float:
    """Return the age of the oldest generation that no worker has claimed yet; 0 if none waits.

    Exact while at most sixteen owners wait, and close to it beyond that. Raises RedisUnavailable, QueueUnavailable.
    """
    # One on a stream node that does not answer cannot be looked up, and no worker can run it.
    candidates = [each for each in task_queue.find_oldest() if streams.answers(each)]
    if not candidates:
        return 0.0
    states = read_states(streams, candidates)
    with translate_redis_errors():
        seconds, microseconds = streams.control.time()
    created = [state.created_ms for state in states if state is not None and state.status == "queued"]
    now_ms = seconds * 1000 + microseconds // 1000
    return max(0, now_ms - min(created, default=now_ms)) / 1000
