"""The clients and background tasks of one mount, created once and shared by all requests of a process."""

from dataclasses import dataclass, field

from flask import Flask

from millrace.webapp.generation.stored_log import StoredLogs
from millrace.webapp.generation.withdrawal import PendingWithdrawals
from millrace.webapp.housekeeping import Housekeeping
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.mounts import MountState, names_of
from millrace.webapp.owner_data.stores import Stores
from millrace.webapp.relay import Hub
from millrace.webapp.relay.rendering import Renderings
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.node_probe import NodeProbe, make_probes
from millrace.worker.contract.redis.streams import Streams, connect_streams
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database
from millrace.worker.store.image_files import ImageFiles

REDIS_SECONDS = 2.5  # a command's timeout; with the client's one retry it fails after 5 s


@dataclass
class StartRecord:
    """Whether a mount has been ready in this process."""

    has_been_ready: bool = False


@dataclass(frozen=True)
class Services:
    """Settings, clients, the relay's hub and the background tasks of one mount in one process."""

    settings: Settings
    streams: Streams
    database: Database
    task_queue: TaskQueue
    hub: Hub
    renderings: Renderings
    withdrawals: PendingWithdrawals
    housekeeping: Housekeeping
    metrics: WebMetrics
    probes: tuple[NodeProbe, ...] = ()
    start_record: StartRecord = field(default_factory=StartRecord)

    @property
    def redis(self) -> Redis:
        """The control Redis, which holds everything but generations."""
        return self.streams.control

    @property
    def images(self) -> ImageFiles:
        """The images of answers."""
        return ImageFiles(self.settings.images.directory)

    @property
    def stores(self) -> Stores:
        """The places that hold the data of owners."""
        return Stores(self.settings, self.streams, self.database, self.images)

    @property
    def stored_logs(self) -> StoredLogs:
        """The answers stored in the database, which outlive the logs."""
        return StoredLogs(self.database)

    def start(self) -> None:
        """Start the background tasks, after any fork; further calls do nothing."""
        self.hub.start()
        self.housekeeping.start()

    def stop(self) -> None:
        """Stop the background tasks and close the connections within a few seconds; readers receive nothing more."""
        self.hub.stop()
        self.housekeeping.stop()
        self.task_queue.close()
        self.database.close()
        for probe in self.probes:
            probe.close()
        self.streams.close()


SERVICES: MountState[Services] = MountState("services")


def make_services(settings: Settings) -> Services:
    """Return the services of one mount; does no I/O."""
    streams = connect_streams(settings, timeout_seconds=REDIS_SECONDS)
    database = Database(settings)
    task_queue = TaskQueue(settings)
    hub = Hub(streams, settings, StoredLogs(database).entries)
    metrics = WebMetrics(hub)
    withdrawals = PendingWithdrawals(streams, database, settings.generation.queue_seconds)
    probes = tuple(make_probes(settings, streams))
    housekeeping = Housekeeping(
        *(streams, settings, task_queue, hub),
        database=database,
        withdrawals=withdrawals,
        metrics=metrics,
        probes=probes,
    )
    return Services(
        *(settings, streams, database, task_queue, hub, Renderings(hub), withdrawals, housekeeping, metrics),
        probes,
    )


def services_of(app: Flask, mount: str | None = None) -> Services:
    """Return the services of a mount, by default of the app's first."""
    return SERVICES.of(app, mount or names_of(app)[0])


def services() -> Services:
    """Return the services of the mount that serves the current request."""
    return SERVICES.current()
