"""The server of `forks.py`: imports the modules of both tiers, then forks itself for each process that is asked for.

It never runs an event loop of its own, and makes nothing that depends on settings.
"""

from gevent import monkey
from gevent.os import fork_gevent

monkey.patch_all()

import gc  # noqa: E402 - and all below: imported after the patching
import importlib  # noqa: E402
import json  # noqa: E402
import os  # noqa: E402
import runpy  # noqa: E402
import sys  # noqa: E402
from typing import Any  # noqa: E402

_IMPORTED = (
    "celery.apps.worker",
    "celery.bin.celery",
    "celery.concurrency.gevent",
    "gunicorn.app.wsgiapp",
    "gunicorn.workers.ggevent",
    "kombu.transport.redis",
    "millrace.webapp.extension",
    "millrace.webapp.gunicorn_worker",
    "millrace.worker.after.learning",
    "millrace.worker.generation",
    "millrace.worker.process",
    "millrace.worker.task_transport",
    "millrace.worker.upkeep.canary",
)
"""Together they import all that the processes need, but for the modules that read settings: `worker.app` and `wsgi`."""
_waitpid = monkey.get_original("os", "waitpid")


def serve() -> dict[str, Any] | None:
    """Answer questions until there are no more; returns what to start in each fork, None in the server itself."""
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # a collection in a fork would copy all pages of these objects
    for line in sys.stdin.buffer:
        question = json.loads(line)
        answer: int | None
        if (started := question.get("start")) is not None:
            answer = fork_gevent()  # the patched `os.fork` would start an event loop here, to watch for the end
            if answer == 0:
                return started
        else:
            ended, status = _waitpid(question["poll"], os.WNOHANG)
            answer = os.waitstatus_to_exitcode(status) if ended else None
        sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n")
        sys.stdout.buffer.flush()
    return None


def become(started: dict[str, Any]) -> None:
    """Be the process that was asked for, to its end."""
    if started["has_own_session"]:
        os.setsid()
    log = os.open(started["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in ((nothing, 0), (log, 1), (log, 2)):
        os.dup2(source, target)
    os.close(log)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(started["environment"])
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    sys.path[1:1] = [path for path in paths if path and path not in sys.path]
    sys.argv[:] = [sys.executable, *started["arguments"][1:]]
    runpy.run_module(started["arguments"][0], run_name="__main__", alter_sys=True)


if __name__ == "__main__" and (asked := serve()) is not None:
    become(asked)
