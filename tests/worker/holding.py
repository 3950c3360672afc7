"""A claimed generation with its outbox, as a test's greenlet holds it."""

from dataclasses import dataclass

from millrace.worker.contract.events import Complete, Latency, Usage
from millrace.worker.contract.lease import ClaimedGeneration, claim
from millrace.worker.interrupt import Interrupt
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.publishing.writer import Writer
from tests.worker.desk import Desk

COMPLETE = Complete("live", "end_turn", Usage(1, 1), Latency(1, 1), "model", "stub", "message", stored=False)


@dataclass(frozen=True)
class Held:
    """What a generation's greenlet has in its hands."""

    generation: str
    holding: ClaimedGeneration
    interrupt: Interrupt
    outbox: Outbox


def hold(desk: Desk, writer: Writer, flush_bytes: int = 1024) -> Held:
    """Make a generation and claim it."""
    generation = desk.make("question")
    holding = claim(desk.redis, generation, desk.settings)
    assert holding is not None
    interrupt = Interrupt()
    outbox = Outbox(holding, interrupt, Batcher(flush_bytes), writer.notice, desk.settings.worker.buffer_bytes)
    return Held(generation, holding, interrupt, outbox)
