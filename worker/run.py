"""One generation while this process runs it."""

import time
from dataclasses import dataclass, field

from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.interrupt import Interrupt
from millrace.worker.publishing.outbox import Outbox


@dataclass(eq=False)
class RunningGeneration:
    """A claim at work: its way into the log, and how to interrupt it. Times are of `time.monotonic`."""

    holding: ClaimedGeneration
    interrupt: Interrupt
    outbox: Outbox
    ends_by: float
    begun_at: float = field(default_factory=time.monotonic)
