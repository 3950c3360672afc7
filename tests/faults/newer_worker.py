"""Loaded into a worker by `--include`: it writes as one of the next version might.

Every event has a further field, and in place of each `context` stands an event of a type that this version's readers do
not know.
"""

from millrace.worker.contract.events import ContextEvent, Event
from millrace.worker.publishing import outbox

_encode = outbox.encode


def _encode_newer(event: Event) -> bytes:
    if isinstance(event, ContextEvent):
        return b'{"type":"wave","content":{"of":["a","newer","version"]}}'
    return _encode(event)[:-1] + b',"newer":{"field":[1,null]}}'


outbox.encode = _encode_newer
