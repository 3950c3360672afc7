"""Millrace mounted in a host application: the host's login names the owner, and the host is left unchanged."""

import gc
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import gevent
import httpx
import pytest
from flask import Flask
from flask.testing import FlaskClient

from millrace.webapp import mount
from millrace.webapp.services import services_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.errors import SettingError
from millrace.worker.settings.schema import Settings
from tests.client import Client, wait_for
from tests.forks import fork
from tests.valkey import ValkeyProcess, free_port
from tests.webapp.harness import WHOLE, WebHarness, check_problem, json_of, stopping
from tests.webapp.host_app import LOGIN, make_host

API = "/chat/api/generations"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture
def host(store: ValkeyProcess, client: Redis, database_url: str) -> Iterator[Flask]:
    with stopping(make_host(Settings.of(redis_url=store.url, database_url=database_url, auth=LOGIN))) as host:
        yield host


def logged_in(host: Flask, user: str) -> FlaskClient:
    client = host.test_client()
    assert client.get(f"/login/{user}").text == f"hello {user}"
    return client


def test_login_of_the_host_names_the_owner(host: Flask, client: Redis) -> None:
    ada, eve = logged_in(host, "ada"), logged_in(host, "eve")
    asked = ada.post(API, json={"message": "a"})
    assert asked.status_code == 202
    receipt = json_of(asked)
    assert receipt["events_url"] == f"{API}/{receipt['id']}/events"
    assert receipt["cancel_url"] == f"{API}/{receipt['id']}/cancel"
    assert asked.headers["Location"] == f"{API}/{receipt['id']}"
    (state,) = client.keys("mr:*:state")  # type: ignore[misc]
    assert client.hget(state, "owner") == b"ada"
    for path in (f"{API}/{receipt['id']}", receipt["events_url"]):
        check_problem(eve.get(path), 404, "not_found")
        check_problem(host.test_client().get(path), 401, "unauthorized")
    assert ada.get(f"{API}/{receipt['id']}").status_code == 200
    assert ada.post(receipt["cancel_url"]).status_code == 202
    check_problem(host.test_client().post(API, json={"message": "a"}), 401, "unauthorized")


def test_page_and_its_script_work_below_the_prefix(host: Flask) -> None:
    page = logged_in(host, "ada").get("/chat/")
    assert page.status_code == 200
    assert re.search(r'src="static/[0-9a-f]{16}/(bundle/)?page.js"', page.text)
    assert "script-src 'self'" in page.headers["Content-Security-Policy"]
    script = host.test_client().get("/chat/static/page.js", buffered=True)
    assert script.status_code == 200
    assert '"/api/' not in script.text
    assert "`/api/" not in script.text
    assert "/chat/api/generations" in json_of(host.test_client().get("/chat/api/openapi.json"))["paths"]


def test_mount_leaves_routes_headers_and_errors_of_the_host_unchanged(host: Flask) -> None:
    client = logged_in(host, "ada")
    home, absent = client.get("/"), client.get("/absent")
    assert (home.text, absent.text) == ("the host's home", "the host knows no such page")
    for answer in (home, absent):
        assert "Content-Security-Policy" not in answer.headers
        assert "Cache-Control" not in answer.headers
    foreign = {"Sec-Fetch-Site": "cross-site"}
    assert client.post("/post", data=b"x", headers=foreign).text == "x"
    check_problem(client.post(API, json={"message": "a"}, headers=foreign), 403, "cross_site")
    # The host's own handlers of the same statuses do not apply to the mount.
    check_problem(client.get(f"{API}/{'0' * 32}"), 404, "not_found")
    check_problem(client.post(API, data=b"x", headers={"Content-Type": "text/plain"}), 415, "unsupported_media_type")


def test_housekeeping_starts_with_the_first_request_to_the_mount(host: Flask) -> None:
    housekeeping = services_of(host).housekeeping
    host.test_client().get("/")
    assert not housekeeping.is_running
    host.test_client().get("/chat/healthz")
    assert housekeeping.is_running


def test_no_greenlet_runs_after_stop(host: Flask) -> None:
    before = greenlets()
    assert logged_in(host, "ada").post(API, json={"message": "a"}).status_code == 202
    wait_for(lambda: len(greenlets() - before) >= 8, 30, "the greenlets of the mount")
    services_of(host).stop()
    wait_for(lambda: not greenlets() - before, 30, "their end")


def greenlets() -> set["gevent.Greenlet[..., object]"]:
    """Return the running greenlets of the process."""
    found = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet)]
    return {each for each in found if each and not each.dead}


def test_anonymous_owner_is_kept_in_the_session_of_the_host(
    store: ValkeyProcess, client: Redis, database_url: str
) -> None:
    settings = Settings.of(redis_url=store.url, database_url=database_url, secret_key="ours" * 8)
    host = Flask("host")
    with pytest.raises(SettingError, match=r"^MILLRACE_AUTH: session needs an app that has a secret key"):
        mount(host, settings)
    host.secret_key = "theirs"
    mount(host, settings)
    user = host.test_client()
    with stopping(host):
        generation = json_of(user.post("/millrace/api/generations", json={"message": "a"}))["id"]
        assert user.get_cookie("session") is not None
        assert user.get(f"/millrace/api/generations/{generation}").status_code == 200
        check_problem(host.test_client().get(f"/millrace/api/generations/{generation}"), 404, "not_found")


def test_mounted_stream_works_over_a_real_socket(
    store: ValkeyProcess, build: Callable[..., WebHarness], tmp_path: Path
) -> None:
    port = free_port()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MILLRACE_")}
    environment |= {"MILLRACE_REDIS_URL": store.url, "MILLRACE_AUTH": LOGIN}
    command = ["gunicorn", "-c", "deploy/gunicorn.conf.py", "--bind", f"127.0.0.1:{port}"]
    process = fork([*command, "tests.webapp.host_app:make_host()"], environment, tmp_path / "log")
    with Client(f"http://127.0.0.1:{port}/chat") as client:
        try:
            wait_for(lambda: _is_up(port), 60, "the host")
            assert client.http.get(f"http://127.0.0.1:{port}/login/ada").text == "hello ada"
            worker = build().answer_next(*WHOLE)
            received = client.whole(client.ask("a"))
            worker.join()
            assert [each.event["type"] for each in received][-1] == "done"
        finally:
            process.terminate()
            process.wait(60)


def _is_up(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/chat/healthz", trust_env=False, verify=False).status_code == 200
    except httpx.TransportError:
        return False


def test_prefix_of_a_trusted_proxy_begins_every_address_and_an_odd_one_is_ignored(
    build: Callable[..., WebHarness],
) -> None:
    for proxies, given, prefix in (
        (1, "/chat", "/chat"),
        (1, "/a/b.c/", "/a/b.c"),
        (1, "", ""),
        (1, "//evil.example", ""),
        (1, "/a/../b", ""),
        (1, "/a b", ""),
        (1, "https://evil.example", ""),
        (1, "/theirs, /chat", "/chat"),
        (2, "/chat", "/chat"),
        (0, "/chat", ""),
    ):
        site = build(trusted_proxies=proxies)
        answer = site.post({"message": "a"}, X_Forwarded_Prefix=given)
        url = f"{prefix}/api/generations/{json_of(answer)['id']}"
        assert (json_of(answer)["cancel_url"], answer.headers["Location"]) == (f"{url}/cancel", url), (proxies, given)
        assert f"Path={prefix or '/'}" in answer.headers["Set-Cookie"]
