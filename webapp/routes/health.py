"""The health checks: `/healthz` for a restart, `/readyz` for a load balancer."""

from typing import Literal

import msgspec
from flask import Blueprint, Response, request
from msgspec import UNSET, UnsetType

from millrace.webapp.guard.access import may_see_metrics
from millrace.webapp.openapi.document import Description, described
from millrace.webapp.problems import Problem
from millrace.webapp.schemas import json_response
from millrace.webapp.services import Services, services
from millrace.worker.contract.presence import count_live_workers
from millrace.worker.contract.redis.connection import (
    REQUIRED_POLICY,
    Redis,
    connect,
    eviction_policy,
    translate_redis_errors,
)
from millrace.worker.contract.redis.streams import StreamNode, Streams
from millrace.worker.errors import DatabaseUnavailable, RedisKeyInvalid, RedisUnavailable
from millrace.worker.observability.logs import get_logger
from millrace.worker.store.database import Database

CHECK_SECONDS = 1.0
_ONCE = ("query", "once", "1: from the first 200 on, answer 200 as long as the process does, whatever fails later.")

Checks = dict[str, str]

routes = Blueprint("health", __name__)

_log = get_logger(__name__)


class Alive(msgspec.Struct, frozen=True):
    """The process answers requests."""

    status: Literal["alive"]


class Ready(msgspec.Struct, frozen=True):
    """Redis, the database and a worker are available; `checks` has the details, for clients that may see them."""

    status: Literal["ready"]
    checks: Checks | UnsetType = UNSET


@routes.get("/healthz")
@described(Description(answers={200: Alive}))
def get_liveness() -> Response:
    """Return 200 as long as the process answers requests."""
    return json_response(Alive("alive"))


@routes.get("/readyz")
@described(Description(parameters=(_ONCE,), answers={200: Ready}))
def get_readiness() -> Response:
    """Return 200 if Redis (with eviction off), the database and a worker are available, otherwise 503.

    The result of each check is added for clients that may see the metrics. With `once` the question is whether this
    process has ever been ready: a load balancer that asks so gets no process that was set up wrongly, and does not lose
    all of them, with their stored answers and open streams, to one fault of what they share.
    """
    record = services().start_record
    if record.has_been_ready and request.args.get("once") == "1":
        return json_response(Ready("ready"))
    checks, failing = check_dependencies(services())
    record.has_been_ready = record.has_been_ready or not failing
    has_details = may_see_metrics()
    if failing and has_details:
        raise Problem(503, "not_ready", f"Not ready: {', '.join(failing)}.", checks=checks, failing=failing)
    if failing:
        raise Problem(503, "not_ready", "Not ready.")
    return json_response(Ready("ready", checks if has_details else UNSET))


def check_dependencies(services: Services) -> tuple[Checks, list[str]]:
    """Return the result of each check and the names of the failed ones; takes at most about three seconds."""
    redis = connect(services.settings.redis.url, "control", timeout_seconds=CHECK_SECONDS, retries=0)
    try:
        checks = _check_redis(redis)
    except RedisUnavailable:
        checks = {"redis": "away", "maxmemory_policy": "unknown", "workers": "unknown"}
    finally:
        redis.close()
    checks["database"] = _check_database(services.database)
    checks |= {f"stream_{node.name}": _node_check(services.streams, node) for node in services.streams.nodes[1:]}
    failing = [
        name
        for name, is_failing in (
            ("redis", checks["redis"] != "ok"),
            ("maxmemory_policy", checks["maxmemory_policy"] not in (REQUIRED_POLICY, "unknown")),
            ("workers", checks["workers"] in ("none", "unreadable")),
            ("database", checks["database"] != "ok"),
            ("streams", not any(node.is_up for node in services.streams.open_nodes())),
        )
        if is_failing
    ]
    return checks, failing


def _node_check(streams: Streams, node: StreamNode) -> str:
    if not node.is_up:
        return "away"
    if not node.is_whole:
        return "partly away"
    return "draining" if node.name in streams.draining else "ok"


def _check_redis(redis: Redis) -> Checks:
    with translate_redis_errors():
        redis.ping()
    return {
        "redis": "ok",
        "maxmemory_policy": eviction_policy(redis),
        "workers": _live_workers(redis),
    }


def _live_workers(redis: Redis) -> str:
    try:
        alive = count_live_workers(redis)
    except RedisKeyInvalid as error:
        _log.error("workers_unreadable", error=error)
        return "unreadable"
    return f"{alive} alive" if alive else "none"


def _check_database(database: Database) -> str:
    try:
        database.check(CHECK_SECONDS)
    except DatabaseUnavailable as error:
        _log.warning("database_unavailable", error=error)
        return "away"
    return "ok"
