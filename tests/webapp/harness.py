"""The harness of the web tier's tests: the application over a real Valkey, and one user at Flask's test client.

`WebHarness` sends requests as that user, plays the worker (`hold`, `write`, `answer_next`) and looks into Redis
(`made`, `generations`, `queued_tasks`). Every response is checked against the OpenAPI document.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import gevent
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from millrace.webapp import create_app
from millrace.webapp.guard import limits
from millrace.webapp.guard.auth.session import OWNER
from millrace.webapp.mounts import names_of
from millrace.webapp.services import Services, services_of
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
from millrace.worker.contract.ids import new_id
from millrace.worker.contract.keys import METRICS, WORKERS
from millrace.worker.contract.lease import ClaimedGeneration, claim
from millrace.worker.contract.log import Append, AppendResult, append_all
from millrace.worker.contract.queue import TASK
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.settings.schema import Settings
from tests import bare
from tests.webapp.openapi.response_checker import Document

USAGE = Usage(3, 4)
COMPLETE = Complete("live", "end_turn", USAGE, Latency(1, 2), "asked-model", "bedrock", "m", stored=False)
DEAD_PORT = 1  # no server listens on it

SECRET_KEY = "a key of these tests, which is long enough"

UNLIMITED = Settings.of(
    secret_key=SECRET_KEY, **{name: "" if value == "off" else value for name, value in bare.UNLIMITED.items()}
)
"""Settings without limits, because a test is one user who sends many requests."""

Json = dict[str, Any]

CREATING: list[tuple[str, Json]] = [
    ("/api/generations", {"message": "a"}),
    ("/api/generations", {"message": "a", "stream": True}),
    ("/api/generations", {"message": "a", "stream": False}),
    ("/api/chat", {"message": "a"}),
    ("/api/conversation/me", {"message": "a"}),
    ("/api/conversation-stream/me", {"message": "a"}),
]
"""A path and a body for each form of request that creates a generation."""


class WebHarness:
    """One web process and one of its users."""

    def __init__(self, url: str, redis: Redis, **settings: Any) -> None:
        self.redis = redis
        self.app = create_app(UNLIMITED.replace(**({"redis_url": url} | settings)))
        self.app.after_request(Document.of(self.app).check_answer)
        self.user = self.app.test_client()

    @property
    def services(self) -> Services:
        """The services of the application."""
        return services_of(self.app)

    @property
    def cookie_name(self) -> str:
        """The name of the session cookie over plain HTTP."""
        with self.app.test_request_context():
            return self.app.session_interface.get_cookie_name(self.app)

    def owner(self, client: FlaskClient | None = None) -> str:
        """Return the id of a client's user, by default of `user`; give it the cookie if it has none yet."""
        with (client or self.user).session_transaction() as session:
            session.permanent = True
            return str(session.setdefault(OWNER, new_id()))

    def stranger(self) -> FlaskClient:
        """Return a client of another user, without a cookie yet."""
        return self.app.test_client()

    def post(self, body: Any, **headers: str) -> TestResponse:
        """Send a create request; a body that is text or bytes is sent as it is, any other as JSON."""
        headers = {"Content-Type": "application/json", **{k.replace("_", "-"): v for k, v in headers.items()}}
        if isinstance(body, str | bytes):
            return self.user.post("/api/generations", data=body, headers=headers)
        return self.user.post("/api/generations", json=body, headers=headers)

    def ask(self, message: str = "hello", **fields: Any) -> str:
        """Create a generation and return its id."""
        answer = self.post({"message": message, **fields})
        assert answer.status_code == 202, answer.text
        return str(json_of(answer)["id"])

    def queued_tasks(self) -> int:
        """Return the number of tasks in the queue."""
        return int(self.redis.llen("millrace"))  # type: ignore[arg-type]

    def made(self) -> list[str]:
        """Return the keys of generations, not those of processes, the queue, nor counts that correct themselves."""
        found = (key.decode() for key in self.redis.keys("mr:*"))  # type: ignore[union-attr]
        own = (WORKERS, METRICS)
        return sorted(
            key for key in found if not key.startswith((*own, "mr:{waiting}")) and not key.endswith(":active")
        )

    def hold(self, generation: str) -> ClaimedGeneration:
        """Claim a generation, as a worker does."""
        holding = claim(Streams(self.redis), generation, self.services.settings)
        assert holding is not None
        return holding

    def write(self, holding: ClaimedGeneration, *events: AnyEvent, after: int = 1) -> None:
        """Append events; the first gets the sequence number `after + 1`."""
        appends = [
            Append(holding.claim, after + number, kind_of(event), encode(event))
            for number, event in enumerate(events, 1)
        ]
        for appended in append_all(self.redis, appends, 3_600_000):
            assert isinstance(appended, AppendResult), appended

    def answer_next(self, *events: AnyEvent) -> "gevent.Greenlet[[], ClaimedGeneration]":
        """Answer the next generation that is created, in a greenlet beside the test, which returns what it claimed."""

        before = set(self.generations())

        def work() -> ClaimedGeneration:
            with gevent.Timeout(30):
                while not (new := set(self.generations()) - before):
                    gevent.sleep(0.01)
                holding = self.hold(new.pop())
                self.write(holding, StatusEvent("running", 1, "asked-model", "bedrock"), *events)
                return holding

        return gevent.spawn(work)

    def generations(self) -> list[str]:
        """Return the ids of all generations in Redis."""
        return [key.split(":")[2] for key in self.made() if key.endswith(":state")]


@contextmanager
def stopping(app: Flask) -> Generator[Flask]:
    """Stop the background greenlets of an app at the end, because they would disturb the next test."""
    try:
        yield app
    finally:
        for mount in names_of(app):
            services_of(app, mount).stop()
            limits.close(app, mount)


WHOLE: tuple[AnyEvent, ...] = (Chunk("Hel"), Chunk("lo."), COMPLETE, Done("completed"))


def json_of(answer: TestResponse) -> Json:
    """Return the JSON object of a response."""
    found: Any = answer.get_json(force=True)
    assert isinstance(found, dict)
    return found  # pyright: ignore[reportUnknownVariableType]


def check_problem(answer: TestResponse, status: int, code: str, field: str | None = None) -> Json:
    """Assert that a response is this problem, and return it."""
    assert answer.status_code == status, answer.text
    assert answer.mimetype == "application/problem+json"
    problem = json_of(answer)
    assert {"type", "title", "status", "detail", "code"} <= set(problem)
    assert (problem["status"], problem["code"], problem.get("field")) == (status, code, field), problem
    if status in (429, 503):
        assert int(answer.headers["Retry-After"]) > 0
    return problem


__all__ = [
    "COMPLETE",
    "CREATING",
    "DEAD_PORT",
    "TASK",
    "USAGE",
    "WHOLE",
    "Json",
    "WebHarness",
    "check_problem",
    "json_of",
    "stopping",
]
