"""The console script `millrace-worker`: Celery's worker with the arguments that Millrace needs."""

import os
import sys

# gevent runs hundreds of streams in one process. Gossip and mingle exchange messages that no Millrace worker uses.
_COMMAND = ("-m", "celery", "-A", "millrace.worker.app", "worker", "--pool", "gevent")
_OPTIONS = ("--without-gossip", "--without-mingle")
_DEFAULTS = {"--concurrency": "500", "--loglevel": "INFO"}


def main() -> None:
    """Replace this process by a worker; further arguments are passed on to `celery worker`."""
    os.execv(sys.executable, [sys.executable, *arguments_for(sys.argv[1:])])  # noqa: S606


def arguments_for(given: list[str]) -> list[str]:
    """Return the arguments of Python that start Celery; `given` comes last and replaces the defaults it names.

    Celery must be the program that starts, because it patches the standard library before it imports anything else.
    """
    defaults = [part for name, value in _DEFAULTS.items() if not _is_given(name, given) for part in (name, value)]
    return [*_COMMAND, *_OPTIONS, *defaults, *given]


def _is_given(name: str, arguments: list[str]) -> bool:
    return any(argument == name or argument.startswith(f"{name}=") for argument in arguments)


if __name__ == "__main__":
    main()
