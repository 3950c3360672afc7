"""What Celery puts into a queue for a task: made by Celery itself once, and from then on with what differs put in.

Its `send_task` takes a millisecond of CPU, somebody waits for it, and nearly all of it goes into what is always the
same. https://docs.celeryq.dev/en/stable/internals/protocol.html, version 2, in kombu's wrapping for its virtual
transports, of which Redis is one: a queue is a list there.
"""

import base64
import json
import uuid
from typing import Any

from celery import Celery

_ANY_QUEUE = "any"

_dump = json.JSONEncoder(separators=(",", ":")).encode


class Envelope:
    """Makes the messages of one task."""

    def __init__(self, task: str) -> None:
        with Celery("millrace", broker="memory://localhost", set_as_current=False) as app:
            app.send_task(task, args=[], queue=_ANY_QUEUE, serializer="json", ignore_result=True)
            with app.connection_for_read() as connection:
                self._message: dict[str, Any] = connection.default_channel._get(_ANY_QUEUE)  # noqa: SLF001 - its bytes
        self._embed = json.loads(base64.b64decode(self._message["body"]))[2]

    def message(self, queue: str, arguments: list[str]) -> str:
        """Return a message for the task with these arguments, to be put into the queue as it is."""
        own = self._message
        name = str(uuid.uuid4())
        body = _dump([arguments, {}, self._embed]).encode("ascii")
        headers = own["headers"] | {"id": name, "root_id": name, "argsrepr": repr(arguments or ())}
        ids = {"correlation_id": name, "delivery_tag": name}
        properties = own["properties"] | ids | {"delivery_info": {"exchange": "", "routing_key": queue}}
        return _dump(own | {"body": base64.b64encode(body).decode(), "headers": headers, "properties": properties})
