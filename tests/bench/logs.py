"""Logs for readers of the real web tier: created through its API, claimed and appended to as a worker does."""

import http.client
import json
from dataclasses import dataclass

from millrace.worker.contract.lease import claim
from millrace.worker.contract.log import Claim, packed_parts
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.scripts import APPEND
from millrace.worker.settings.schema import Settings

_TTL_MS = 3_600_000


@dataclass(frozen=True)
class Log:
    """A generation that is being written: how its owner follows it, and its append command in pieces, its epoch."""

    path: str
    cookie: str
    pieces: tuple[str, str, str]
    epoch: int


def make_logs(port: int, redis_url: str, count: int) -> list[Log]:
    """Ask for so many generations, each for an owner of its own, and claim them."""
    settings = Settings.of(lease_seconds=300)
    logs: list[Log] = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    with connect(redis_url) as redis:
        redis.script_load(APPEND.source)
        for _ in range(count):
            body = json.dumps({"message": "measure"})
            connection.request("POST", "/api/generations", body, {"Content-Type": "application/json"})
            answer = connection.getresponse()
            asked = json.loads(answer.read())
            assert answer.status == 202, asked
            cookie = str(answer.headers["Set-Cookie"]).partition(";")[0]
            holding = claim(Streams(redis), asked["id"], settings)
            assert holding is not None
            logs.append(Log(asked["events_url"], cookie, _pieces(holding.claim), holding.claim.epoch))
    connection.close()
    return logs


def _pieces(claim: Claim) -> tuple[str, str, str]:
    """Return an append's command in Redis's protocol around its sequence number and its data."""
    before, between, after = packed_parts(claim, "chunk", _TTL_MS)
    return before.decode("latin-1"), between.decode("latin-1"), after.decode("latin-1")
