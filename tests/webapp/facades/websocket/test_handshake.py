"""The handshake over WSGI: what it rejects and what its response has. The journeys do it through gunicorn."""

from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from typing import Any

import pytest
from gevent.socket import socketpair
from werkzeug.test import TestResponse
from wsproto.connection import Connection, ConnectionType
from wsproto.events import CloseConnection, TextMessage

from tests.webapp.facades.websocket.handshake_headers import HANDSHAKE
from tests.webapp.harness import WebHarness, check_problem

Build = Callable[..., WebHarness]


@contextmanager
def opened(site: WebHarness, user: Any = None, **headers: str) -> Generator[tuple[TestResponse, Any]]:
    """Shake hands on a pair of sockets, and take the response's body, with which the relay takes the socket."""
    server, client = socketpair()
    client.settimeout(30)
    given = {**HANDSHAKE, **{name.replace("_", "-"): value for name, value in headers.items()}}
    environ = {"gunicorn.socket": server}
    response = (user or site.user).get("/api/ws", headers=given, environ_overrides=environ)
    try:
        if response.status_code == 101:
            with suppress(BrokenPipeError):
                list(response.iter_encoded())
        yield response, client
    finally:
        client.close()
        server.close()


def first_event(client: Any) -> object:
    protocol = Connection(ConnectionType.CLIENT)
    protocol.receive_data(client.recv(4096))
    return next(protocol.events())


def test_handshake_switches_protocols_and_hands_the_socket_over(site: WebHarness) -> None:
    site.owner()
    with opened(site) as (response, client):
        assert response.status_code == 101
        # The example of https://www.rfc-editor.org/rfc/rfc6455#section-1.3
        assert response.headers["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
        assert (response.headers["Upgrade"], response.headers["Connection"]) == ("websocket", "Upgrade")
        assert "Sec-WebSocket-Extensions" not in response.headers
        assert "Sec-WebSocket-Protocol" not in response.headers
        event = first_event(client)
        assert isinstance(event, TextMessage)
        assert event.data.startswith('{"type":"ready"')


def test_new_visitor_gets_the_cookie_of_an_owner(site: WebHarness) -> None:
    visitor = site.stranger()
    with opened(site, visitor) as (response, _):
        assert response.headers["Set-Cookie"].startswith(site.cookie_name)
    with opened(site, visitor) as (again, _):
        assert "Set-Cookie" not in again.headers


def test_offered_subprotocol_is_chosen(site: WebHarness) -> None:
    for offered, chosen in (("chat, millrace.v1", "millrace.v1"), ("chat", None)):
        with opened(site, Sec_WebSocket_Protocol=offered) as (response, _):
            assert response.headers.get("Sec-WebSocket-Protocol") == chosen


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Sec_WebSocket_Version": "8"}, 426, "upgrade_required"),
        ({"Sec_WebSocket_Key": ""}, 400, "malformed"),
        ({"Sec_WebSocket_Key": "c2hvcnQ="}, 400, "malformed"),
        ({"Sec_WebSocket_Key": "!"}, 400, "malformed"),
        ({"Origin": "http://evil.example"}, 403, "cross_site"),
        ({"Sec_Fetch_Site": "same-site"}, 403, "cross_site"),
    ],
)
def test_bad_handshake_is_rejected(site: WebHarness, headers: dict[str, str], status: int, code: str) -> None:
    with opened(site, **headers) as (response, _):
        check_problem(response, status, code)


def test_wrong_version_is_told_the_right_one(site: WebHarness) -> None:
    with opened(site, Sec_WebSocket_Version="8") as (response, _):
        assert response.headers["Sec-WebSocket-Version"] == "13"


def test_listed_origin_may_connect(build: Build) -> None:
    site = build(allowed_origins=("http://app.example",))
    with opened(site, Origin="http://app.example") as (response, _):
        assert response.status_code == 101
    with opened(site, Origin="http://app.example:81") as (response, _):
        check_problem(response, 403, "cross_site")


def test_credentials_are_those_of_any_other_request(build: Build) -> None:
    site = build(auth="header", auth_header="X-User")
    with opened(site) as (response, _):
        check_problem(response, 401, "unauthorized")
    with opened(site, X_User="ann") as (response, _):
        assert response.status_code == 101
        assert "Set-Cookie" not in response.headers


def test_host_that_is_not_allowed_is_rejected(build: Build) -> None:
    site = build(allowed_hosts=("chat.example",))
    with opened(site) as (response, _):
        check_problem(response, 400, "unknown_host")


def test_handshakes_are_limited_as_streams(build: Build) -> None:
    site = build(follow_rate_limit="1/hour")
    site.owner()
    with opened(site) as (response, _):
        assert response.status_code == 101
    with opened(site, Accept="text/event-stream") as (response, _):
        check_problem(response, 429, "rate_limited")


def test_socket_beyond_the_users_places_is_rejected(build: Build) -> None:
    site = build(max_readers_per_user=1)
    site.owner()
    with opened(site), opened(site) as (response, _):
        check_problem(response, 429, "too_many_streams")


def test_draining_server_closes_at_once(site: WebHarness) -> None:
    site.services.hub.drain(0.1, lambda: None)
    with opened(site) as (response, client):
        assert response.status_code == 101
        event = first_event(client)
        assert isinstance(event, CloseConnection)
        assert int(event.code) == 1012


def test_server_whose_socket_cannot_be_taken_says_so(site: WebHarness) -> None:
    check_problem(site.user.get("/api/ws", headers=HANDSHAKE), 501, "websocket_unavailable")
