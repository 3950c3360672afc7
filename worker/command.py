"""The console script `millrace-worker`: Celery's worker with the arguments that Millrace needs."""

import sys

from millrace.worker.app import app

# gevent runs hundreds of streams in one process. Gossip and mingle are chatter between workers that nobody reads.
_ARGUMENTS = ("worker", "--pool", "gevent", "--without-gossip", "--without-mingle")
_DEFAULTS = {"--concurrency": "500", "--loglevel": "INFO"}


def main() -> None:
    """Start a worker; further arguments are passed on to `celery worker`."""
    given = sys.argv[1:]
    defaults = [part for name, value in _DEFAULTS.items() if not _is_given(name, given) for part in (name, value)]
    app.start([*_ARGUMENTS, *defaults, *given])


def _is_given(name: str, arguments: list[str]) -> bool:
    return any(argument == name or argument.startswith(f"{name}=") for argument in arguments)


if __name__ == "__main__":
    main()
