"""The objects that one worker process creates at startup and shares among all its greenlets."""

import time
from collections.abc import Mapping

import gevent
from gevent.lock import BoundedSemaphore

from millrace.worker.answer_meter import AnswerMeter
from millrace.worker.background_task import PeriodicTask
from millrace.worker.context.sources import make_sources
from millrace.worker.contract.breaker import Breaker
from millrace.worker.contract.lease import ClaimedGeneration
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.node_probe import PROBE_SECONDS, make_probes
from millrace.worker.contract.redis.streams import CONTROL, connect_streams
from millrace.worker.interrupt import Interrupt
from millrace.worker.metrics import AnswerTraffic, BreakerMetrics, WorkerMetrics
from millrace.worker.node_tasks import NodeClients, NodeTasks
from millrace.worker.observability.loop_lag import LoopLag
from millrace.worker.observability.metrics_server import MetricsServer
from millrace.worker.output_images import ImageKeeper
from millrace.worker.providers.protocol import Provider
from millrace.worker.providers.registry import make_providers
from millrace.worker.providers.router import Router
from millrace.worker.publishing.batching import Batcher
from millrace.worker.publishing.outbox import Outbox
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.upkeep.deadlines import Deadlines
from millrace.worker.upkeep.watcher import RunningGeneration

WATCH_TIMEOUT_SECONDS = 2.0


def make_process(settings: Settings, concurrency: int) -> "WorkerProcess":
    """Return a process that runs up to `concurrency` generations at once."""
    process = WorkerProcess(settings, make_providers(settings, concurrency))
    process.metrics.capacity.set(concurrency)
    return process


class WorkerProcess:
    """The clients, the router, the background tasks and the running generations of one worker process."""

    def __init__(self, settings: Settings, providers: Mapping[str, Provider]) -> None:
        self.settings = settings
        self.breaker = Breaker(settings)
        self.router = Router(settings, providers, self.breaker)
        self.database = Database(settings)
        self.images = ImageKeeper(settings)
        self.sources = make_sources(settings, self.router, self.database)
        self._warm_up = gevent.Greenlet(self.sources.warm_up)
        self.streams = connect_streams(settings)
        self.redis = self.streams.control
        self.task_queue = TaskQueue(settings)
        self.running: set[RunningGeneration] = set()
        self.last_attempts = LastAttemptQueue()
        self._clients = clients = NodeClients(
            writing=connect_streams(settings, retries=0, statuses=self.streams.statuses),
            watching=connect_streams(
                settings, timeout_seconds=WATCH_TIMEOUT_SECONDS, retries=0, statuses=self.streams.statuses
            ),
        )
        self._nodes = {
            node.name: NodeTasks(node.name, clients, settings, task_queue=self.task_queue, database=self.database)
            for node in self.streams.nodes
        }
        self._probes = make_probes(settings, self.streams)
        self._probing = [PeriodicTask("probe_stream_node", PROBE_SECONDS, each.probe) for each in self._probes]
        self.deadlines = Deadlines(self.running)
        self.metrics = WorkerMetrics(clients.watching.control)
        self._breakers = BreakerMetrics(self.breaker)
        self.metrics.registry.register(self._breakers)
        self.metrics.running.set_function(lambda: len(self.running))
        self.traffic = AnswerTraffic(self.router, [tasks.writers for tasks in self._nodes.values()])
        self.metrics.registry.register(self.traffic)
        self._loop_lag = LoopLag(self.metrics.registry)
        self.metrics_server = MetricsServer(
            self.metrics.registry,
            settings.worker.metrics_address,
            settings.worker.metrics_port,
            settings.http.metrics_token,
        )

    def start(self) -> None:
        """Start the background tasks; raises SettingError where the metrics' port is taken."""
        self.metrics_server.start()
        self._warm_up.start()
        self.deadlines.start()
        for tasks in (*self._probing, *self._nodes.values()):
            tasks.start()
        self.metrics.start()
        self._breakers.start()
        self._loop_lag.start()

    def drain(self) -> None:
        """Claim no more generations, and hand over those that still run after the grace time.

        Only sets a value, so that a signal handler may call it.
        """
        if self.deadlines.handover_at is None:
            self.deadlines.handover_at = time.monotonic() + self.settings.worker.shutdown_grace_seconds

    @property
    def is_draining(self) -> bool:
        """Whether `drain` has been called."""
        return self.deadlines.handover_at is not None

    def stop(self) -> None:
        """Stop the background tasks, each within a bounded time, and close the connections."""
        self._warm_up.kill()
        self.metrics_server.stop()
        stopping = (*self._probing, *self._nodes.values(), self.deadlines, self._loop_lag, self._breakers, self.metrics)
        gevent.joinall([gevent.spawn(each.stop) for each in stopping])
        for closed in (*self._probes, self._clients, self.streams):
            closed.close()
        self.breaker.close()
        self.sources.close()
        self.database.close()
        self.router.close()
        self.task_queue.close()

    def is_handling(self, generation: str) -> bool:
        """Return whether this process runs a generation or has just ended it.

        A task for such a generation is a duplicate, or was enqueued because Redis lost the claim, which the watcher
        then restores.
        """
        is_running = any(run.outbox.is_active and run.generation == generation for run in self.running)
        return is_running or self.tasks_of(generation).watcher.is_watching_end(generation)

    def tasks_of(self, generation: str) -> NodeTasks:
        """Return the background tasks of the node that holds a generation."""
        return self._nodes[self.streams.home_of(generation).name]

    @property
    def redis_slots(self) -> BoundedSemaphore:
        """The slots for calls to the control Redis."""
        return self._nodes[CONTROL].slots

    def register(self, claimed: ClaimedGeneration) -> RunningGeneration:
        """Register a generation that the calling greenlet has claimed and runs."""
        interrupt = Interrupt()
        batcher = Batcher(self.settings.worker.flush_bytes)
        tasks = self.tasks_of(claimed.claim.generation)
        outbox = Outbox(
            claimed,
            interrupt,
            batcher,
            tasks.writers.of(claimed.claim.generation).schedule,
            self.settings.worker.buffer_bytes,
        )
        now = time.monotonic()
        meter = AnswerMeter(claimed, now, self.settings)
        run = RunningGeneration(claimed, interrupt, outbox, now + self.settings.generation.max_seconds, meter)
        self.running.add(run)
        tasks.running.add(run)
        self.traffic.add(meter)
        self.metrics.record_start(claimed)
        return run

    def unregister(self, run: RunningGeneration) -> None:
        """Remove a generation from the running ones; if it is finished, the watcher watches its end."""
        tasks = self.tasks_of(run.generation)
        self.running.discard(run)
        tasks.running.discard(run)
        self.traffic.retire(run.meter)
        if run.outbox.is_finished:
            tasks.watcher.watch_end(run)


class LastAttemptQueue:
    """A queue of generations on their last attempt, which run one at a time.

    A generation that kills its worker then costs no other generation its last attempt. Only this process knows which
    generations wait here. If it dies or is slow, their leases expire and they are enqueued again.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, None] = {}
        self._is_taken = False

    def add(self, generation: str) -> None:
        """Add a generation at the end of the queue; no effect if it is in the queue already."""
        self._waiting[generation] = None

    def take(self) -> str | None:
        """Take the slot for the generation that has waited longest and return it.

        None if the slot is taken, or if no generation waits.
        """
        if self._is_taken or not self._waiting:
            return None
        self._is_taken = True
        generation = next(iter(self._waiting))
        del self._waiting[generation]
        return generation

    def release(self) -> None:
        """Free the slot taken by `take`."""
        self._is_taken = False
