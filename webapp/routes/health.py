"""Does the process live, and can it do its work."""

from typing import Literal

import msgspec
from flask import Blueprint, Response
from redis.exceptions import ResponseError

from millrace.webapp.openapi.describing import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.schemas import json_response
from millrace.webapp.services import Services, services
from millrace.worker.contract.connection import Redis, connect, translate_redis_errors
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.errors import DatabaseUnavailable, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store.database import Database

ANSWER_SECONDS = 1.0
_POLICY = "noeviction"

Checks = dict[str, str]

routes = Blueprint("health", __name__)

_log = get_logger(__name__)


class Alive(msgspec.Struct, frozen=True):
    """The process serves."""

    status: Literal["alive"]


class Ready(msgspec.Struct, frozen=True):
    """What each check found."""

    status: Literal["ready"]
    checks: Checks


@routes.get("/healthz")
@described(Description(answers={200: Alive}))
def get_liveness() -> Response:
    """Answer 200: the process serves."""
    return json_response(Alive("alive"))


@routes.get("/readyz")
@described(Description(answers={200: Ready}))
def get_readiness() -> Response:
    """Answer 200 where Redis keeps everything, and it, the database and a worker serve, else 503; each is told."""
    checks, failing = check_dependencies(services())
    if failing:
        raise Problem(503, "not_ready", f"Not ready: {', '.join(failing)}.", checks=checks, failing=failing)
    return json_response(Ready("ready", checks))


def check_dependencies(held: Services) -> tuple[Checks, list[str]]:
    """Return what each check found, and the names of those that fail; takes about three seconds at most."""
    redis = connect(held.settings.redis.url, timeout_seconds=ANSWER_SECONDS, retries=0)
    try:
        checks = _ask(redis)
    except RedisUnavailable:
        checks = {"redis": "away", "maxmemory_policy": "unknown", "workers": "unknown"}
    finally:
        redis.close()
    checks["database"] = _database(held.database)
    failing = [
        name
        for name, is_failing in (
            ("redis", checks["redis"] != "ok"),
            ("maxmemory_policy", checks["maxmemory_policy"] not in (_POLICY, "unknown")),
            ("workers", checks["workers"] == "none"),
            ("database", checks["database"] != "ok"),
        )
        if is_failing
    ]
    return checks, failing


def _ask(redis: Redis) -> Checks:
    with translate_redis_errors():
        redis.ping()
    alive = count_live_workers(redis)
    return {
        "redis": "ok",
        "maxmemory_policy": _policy(redis),
        "workers": f"{alive} alive" if alive else "none",
    }


def _database(database: Database) -> str:
    try:
        database.check(ANSWER_SECONDS)
    except DatabaseUnavailable as away:
        _log.warning("database_away", error=away)
        return "away"
    return "ok"


def _policy(redis: Redis) -> str:
    """Return how Redis makes room; a managed one may refuse to say."""
    try:
        with translate_redis_errors():
            found = redis.info("memory").get("maxmemory_policy")
    except ResponseError:
        return "unknown"
    return str(found) if found else "unknown"
