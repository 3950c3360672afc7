"""Authorization that ends while a reader follows: an expired token, a key that its provider revokes."""

import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, cast

import pytest

from tests.client import Client, Received, emulate, text_of, wait_for
from tests.faults.rig import Rig
from tests.webapp.guard.auth.issuer import AUDIENCE, ISSUER, OTHER_RSA_KEY, RSA_KEY, published, token

CUT_SECONDS = 60
SLACK_SECONDS = 20  # for a busy machine


class Handler(BaseHTTPRequestHandler):
    """Publishes the server's keys."""

    def do_GET(self) -> None:
        body = published(cast("Any", self.server).keys.items())
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name
        """Say nothing."""


@pytest.fixture
def provider() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        cast("Any", server).keys = {"first": RSA_KEY, "second": OTHER_RSA_KEY}
        Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def user(rig: Rig, **given: Any) -> Client:
    client = rig.client()
    client.http.headers["Authorization"] = f"Bearer {token('RS256', **given)}"
    return client


def test_an_expired_token_and_a_revoked_key_cut_their_readers_within_a_minute(tmp_path: Path, provider: Any) -> None:
    pinned: dict[str, Any] = {"jwt_algorithm": "RS256", "jwt_issuer": ISSUER, "jwt_audience": AUDIENCE}
    url = f"http://127.0.0.1:{provider.server_port}/keys"
    with Rig(tmp_path, auth="jwt", jwt_jwks_url=url, **pinned) as rig:
        began = time.monotonic()
        runs_out = user(rig, headers={"kid": "first"}, exp=int(time.time()) + 12)
        taken_back = user(rig, key=OTHER_RSA_KEY, headers={"kid": "second"})
        stays = user(rig, headers={"kid": "first"})
        generation = stays.ask(emulate(tokens=3000, chars=5, rate=10))
        received: dict[str, list[Received]] = {"runs out": [], "taken back": [], "stays": []}
        ended: dict[str, float] = {}

        def follow(name: str, client: Client) -> None:
            for each in client.follow(generation):
                received[name].append(each)
            ended[name] = time.monotonic()

        names = {"runs out": runs_out, "taken back": taken_back, "stays": stays}
        for name, client in names.items():
            Thread(target=follow, args=(name, client), daemon=True).start()
        wait_for(lambda: all(len(text_of(each)) > 20 for each in received.values()), 30, "some text for each")
        del provider.keys["second"]
        revoked = time.monotonic()
        wait_for(lambda: {"runs out", "taken back"} <= set(ended), CUT_SECONDS + 60, "both cuts")
        assert ended["runs out"] - began <= 12 + CUT_SECONDS + SLACK_SECONDS
        assert ended["taken back"] - revoked <= CUT_SECONDS + SLACK_SECONDS
        assert "stays" not in ended
        for client in (runs_out, taken_back):
            answer = client.http.get(f"/api/generations/{generation}/events")
            assert answer.status_code == 401
        # Cut is not cancelled: the answer goes on for the one who may still read it.
        assert stays.snapshot(generation)["status"] == "running"
        assert stays.cancel(generation).status_code == 202
        wait_for(lambda: "stays" in ended, 40, "the end")
        assert received["stays"][-1].event["type"] == "done"
        for name in ("runs out", "taken back"):
            assert text_of(received["stays"]).startswith(text_of(received[name]))
