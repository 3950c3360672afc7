"""One generation while this process runs it."""

import time
from dataclasses import dataclass, field

from millrace.worker.contract.lease import Holding
from millrace.worker.interrupt import Interrupt
from millrace.worker.outbox import Outbox


@dataclass(eq=False)
class Run:
    """A claim at work: its way into the log, and how to interrupt it. Times are of `time.monotonic`."""

    holding: Holding
    interrupt: Interrupt
    outbox: Outbox
    ends_by: float
    begun_at: float = field(default_factory=time.monotonic)
