"""The limit of file descriptors: checked at the start, because each reader and each connection needs one."""

import errno
import resource

from millrace.worker.errors import SettingError

OTHER_CONNECTIONS = 1000  # for requests, beside the readers
FEWEST_CONNECTIONS = 200
OWN_DESCRIPTORS = 100  # Redis, the database, logs, libraries


def connections(max_readers: int, max_waiters: int) -> int:
    """Return how many connections gunicorn may hold, so that accepting one never runs out of descriptors.

    Raises the process's own limit as far as it may. Raises SettingError where that is too low for the readers and the
    requests that wait.
    """
    limit = _raise_limit(2 * max_readers + max_waiters + OTHER_CONNECTIONS + OWN_DESCRIPTORS)
    left = limit - max_readers - OWN_DESCRIPTORS
    if left < max_waiters + FEWEST_CONNECTIONS:
        needed = max_readers + max_waiters + FEWEST_CONNECTIONS + OWN_DESCRIPTORS
        most = limit - max_waiters - FEWEST_CONNECTIONS - OWN_DESCRIPTORS
        advice = f"set it to at most {most}, or raise" if most > 0 else "raise"
        raise SettingError(
            f"MILLRACE_MAX_READERS: {max_readers} readers and MILLRACE_MAX_WAITERS: {max_waiters} need {needed} file "
            f"descriptors, and the limit of this process is {limit}; {advice} the limit (ulimit -n {needed})"
        )
    return min(max_readers + max_waiters + OTHER_CONNECTIONS, left)


def is_exhausted(error: OSError) -> bool:
    """Return whether the process or the system has no file descriptor left."""
    return error.errno in (errno.EMFILE, errno.ENFILE)


def _raise_limit(wanted: int) -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return wanted
    most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if most > soft:
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return most
