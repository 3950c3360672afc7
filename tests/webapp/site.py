"""The app over a real Valkey, with one user at Flask's test client, and a worker where a test wants one."""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import gevent
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from millrace.webapp import create_app
from millrace.webapp.guard.auth import current_owner
from millrace.webapp.services import Services, services_of
from millrace.worker.contract.connection import Redis
from millrace.worker.contract.events import (
    AnyEvent,
    Chunk,
    Complete,
    Done,
    Latency,
    StatusEvent,
    Usage,
    encode,
    kind_of,
)
from millrace.worker.contract.keys import METRICS, WORKERS
from millrace.worker.contract.lease import ClaimedGeneration, claim
from millrace.worker.contract.log import Append, AppendResult, append_all
from millrace.worker.contract.queue import TASK
from millrace.worker.settings.schema import Settings
from tests.webapp.openapi.response_checker import Document

USAGE = Usage(3, 4)
COMPLETE = Complete("live", "end_turn", USAGE, Latency(1, 2), "asked-model", "bedrock", "m", stored=False)
DEAD_PORT = 1  # nobody listens there

UNLIMITED = Settings.of(
    secret_key="of this test", rate_limit="", address_rate_limit="", follow_rate_limit="", max_active_per_user=1000
)
"""A test is one user who asks much."""

Json = dict[str, Any]


class Site:
    """One web process as its requests see it, and one user of it."""

    def __init__(self, url: str, redis: Redis, **settings: Any) -> None:
        self.redis = redis
        self.app = create_app(UNLIMITED.replace(**({"redis_url": url} | settings)))
        self.app.after_request(Document.of(self.app).check_answer)
        self.user = self.app.test_client()

    @property
    def services(self) -> Services:
        """What the app holds."""
        return services_of(self.app)

    def owner(self) -> str:
        """Return the user's own id."""
        with self.user as user:
            user.get("/")
            owner = current_owner()
        assert owner is not None
        return owner

    def stranger(self) -> FlaskClient:
        """Return another user."""
        return self.app.test_client()

    def post(self, body: Any, **headers: str) -> TestResponse:
        """Ask with a body, which is JSON unless it is text or bytes already."""
        headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if isinstance(body, str | bytes):
            return self.user.post("/api/generations", data=body, headers=headers)
        return self.user.post("/api/generations", json=body, headers=headers)

    def ask(self, message: str = "hello", **fields: Any) -> str:
        """Ask, and return the generation's id."""
        answer = self.post({"message": message, **fields})
        assert answer.status_code == 202, answer.text
        return str(json_of(answer)["id"])

    def rings(self) -> int:
        """Return how many rings lie in the queue."""
        return int(self.redis.llen("millrace"))  # type: ignore[arg-type]

    def made(self) -> list[str]:
        """Return every key of generations: not what processes tell of themselves, nor an owner's count, which heals."""
        found = (key.decode() for key in self.redis.keys("mr:*"))  # type: ignore[union-attr]
        own = (WORKERS, METRICS)
        return sorted(key for key in found if not key.startswith(own) and not key.endswith(":active"))

    def hold(self, generation: str) -> ClaimedGeneration:
        """Claim a generation, as a worker does."""
        holding = claim(self.redis, generation, self.services.settings)
        assert holding is not None
        return holding

    def write(self, holding: ClaimedGeneration, *events: AnyEvent, after: int = 1) -> None:
        """Append events, the first of them with the number after `after`."""
        appends = [
            Append(holding.claim, after + number, kind_of(event), encode(event))
            for number, event in enumerate(events, 1)
        ]
        for appended in append_all(self.redis, appends, 3_600_000):
            assert isinstance(appended, AppendResult), appended

    def answer_next(self, *events: AnyEvent) -> "gevent.Greenlet[[], None]":
        """Answer the next generation that is rung, in a greenlet beside the test."""

        def work() -> None:
            before = set(self.generations())
            with gevent.Timeout(10):
                while not (new := set(self.generations()) - before):
                    gevent.sleep(0.01)
                self.write(self.hold(new.pop()), StatusEvent("running", 1, "asked-model", "bedrock"), *events)

        return gevent.spawn(work)

    def generations(self) -> list[str]:
        """Return the ids of all generations that are in the store."""
        return [key.split(":")[2] for key in self.made() if key.endswith(":state")]


@contextmanager
def stopping(app: Flask) -> Generator[Flask]:
    """End what an app runs beside its requests, whatever becomes of the test: another test might meet it."""
    try:
        yield app
    finally:
        services_of(app).stop()


WHOLE: tuple[AnyEvent, ...] = (Chunk("Hel"), Chunk("lo."), COMPLETE, Done("completed"))


def json_of(answer: TestResponse) -> Json:
    """Return an answer's JSON object."""
    found: Any = answer.get_json(force=True)
    assert isinstance(found, dict)
    return found  # pyright: ignore[reportUnknownVariableType]


def check_problem(answer: TestResponse, status: int, code: str, field: str | None = None) -> Json:
    """Assert that an answer is this problem, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem = json_of(answer)
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field), problem
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return problem


__all__ = ["COMPLETE", "DEAD_PORT", "TASK", "USAGE", "WHOLE", "Json", "Site", "check_problem", "json_of", "stopping"]
