"""What one web process holds, made once by `create_app` and shared by all its requests."""

from dataclasses import dataclass
from typing import cast

from flask import Flask, current_app

from millrace.webapp.generation.stored_log import StoredLogs
from millrace.webapp.housekeeping import Housekeeping
from millrace.webapp.metrics import WebMetrics
from millrace.webapp.relay import Hub
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.queue import TaskQueue
from millrace.worker.settings.schema import Settings
from millrace.worker.store.database import Database

EXTENSION = "millrace"


@dataclass(frozen=True)
class Services:
    """The settings, the clients, the relay's hub, and the greenlets that look after everything."""

    settings: Settings
    redis: Redis
    database: Database
    task_queue: TaskQueue
    hub: Hub
    housekeeping: Housekeeping
    figures: WebMetrics

    @property
    def archive(self) -> StoredLogs:
        """What outlives the logs."""
        return StoredLogs(self.database)

    def start(self) -> None:
        """Start what runs beside the requests; after the fork, once, however often it is called."""
        self.hub.start()
        self.housekeeping.start()

    def stop(self) -> None:
        """End what runs beside the requests and close the connections, within some seconds; readers hear no more."""
        self.hub.stop()
        self.housekeeping.stop()
        self.task_queue.close()
        self.database.close()
        self.redis.close()


def services_of(app: Flask) -> Services:
    """Return the services of an app."""
    return cast("Services", app.extensions[EXTENSION])


def services() -> Services:
    """Return the services of the app that answers the current request."""
    return services_of(current_app)
