"""The application as `wsgi:application`, with notes of what a request passes: for gunicorn."""

from typing import Any

from millrace.webapp.generation import creation, responses
from millrace.webapp.gunicorn_worker import BoundedGeventWorker
from millrace.webapp.relay.frames import Frame
from millrace.webapp.relay.tail import Tail
from tests.bench.milestones import begin, end, name_generation, note, wrap
from tests.bench.wire import MARK


def _create(_redis: Any, draft: Any, *_: Any) -> None:
    note("admitted")
    name_generation(draft.ids.generation)


def _append(tail: Tail, frame: Frame) -> None:
    if MARK in frame.payload:
        end(tail.generation, "relayed")


wrap(BoundedGeventWorker, "handle_request", lambda *_: begin("request"))
wrap(responses, "create_generation", lambda *_, **__: note("checked"))
wrap(creation, "create_with", _create, lambda *_: note("enqueued"))
wrap(Tail, "_append", _append)

import wsgi  # noqa: E402 - the modules that it uses are changed above

application = wsgi.application
