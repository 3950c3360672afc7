"""The events that a script writes when a generation ends with nobody holding it, encoded once."""

import json
from typing import get_args

from millrace.worker.contract.events import Cancelled, CancelledBy, Done, Error, Usage, encode

_NOTHING = Usage(exact=True)
_UNKNOWN = Usage(exact=False)  # nobody knows what a lost attempt used

ENDINGS = json.dumps(
    {
        **{f"unclaimed:{by}": encode(Cancelled(by, _NOTHING)).decode() for by in get_args(CancelledBy)},
        **{f"cancelled:{by}": encode(Cancelled(by, _UNKNOWN)).decode() for by in get_args(CancelledBy)},
        **{f"done:{status}": encode(Done(status)).decode() for status in ("completed", "cancelled", "failed")},
        "worker_lost": encode(
            Error("worker_lost", "The answer was lost on our side. Please ask again.", retryable=True)
        ).decode(),
        "queue_timeout": encode(
            Error("queue_timeout", "No worker was free to answer in time. Please ask again.", retryable=True)
        ).decode(),
    }
)
