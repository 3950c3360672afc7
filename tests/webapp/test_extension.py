"""Millrace as a host application uses it: imports from the package root, mount, ask, cancel and stop."""

import gc
import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import gevent
import pytest
from flask import Flask, Request, session
from flask.testing import FlaskClient

import millrace
from millrace import (
    Generation,
    Millrace,
    Problem,
    QueueUnavailable,
    RedisUnavailable,
    SettingError,
    Settings,
    create_app,
    mount,
)
from millrace.webapp.extension import active_mounts
from millrace.worker.contract.keys import keys_of
from millrace.worker.contract.redis.connection import Redis
from millrace.worker.settings.api_keys import hash_of_key
from tests.client import wait_for
from tests.valkey import ValkeyProcess
from tests.webapp.harness import DEAD_PORT, UNLIMITED, WHOLE, WebHarness, check_problem, json_of

ROOT = Path(__file__).parent.parent.parent
Build = Callable[..., WebHarness]
MakeMount = Callable[..., Millrace]


def user_of(_: Request) -> Any:
    return session.get("user")


def new_host() -> Flask:
    app = Flask("host")
    app.secret_key = "the host's own"
    app.add_url_rule("/login/<user>", "login", lambda user: session.update(user=user) or "hello")
    return app


def logged_in(app: Flask, user: str) -> FlaskClient:
    client = app.test_client()
    assert client.get(f"/login/{user}").status_code == 200
    return client


@pytest.fixture
def settings(store: ValkeyProcess, client: Redis, database_url: str) -> Settings:
    return UNLIMITED.replace(redis_url=store.url, database_url=database_url, secret_key="", max_active_per_user=2)


@pytest.fixture
def make_mount(settings: Settings) -> Iterator[MakeMount]:
    """Mount with these settings and an owner function, and stop at the end of the test."""
    with ExitStack() as mounts:

        def make(app: Flask, *, url_prefix: str = "/millrace", **changes: Any) -> Millrace:
            made = Millrace(app, settings=settings.replace(**changes), owner=user_of, url_prefix=url_prefix)
            mounts.callback(made.stop)
            return made

        yield make


def greenlets() -> set["gevent.Greenlet[..., object]"]:
    found = [each for each in gc.get_objects() if isinstance(each, gevent.Greenlet)]
    return {each for each in found if each and not each.dead}


def test_every_public_name_can_be_imported_from_the_package_root() -> None:
    for name in millrace.__all__:
        assert getattr(millrace, name) is not None, name
    assert {"Millrace", "create_app", "mount", "Settings", "__version__"} <= set(millrace.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'Celery'"):
        _ = millrace.Celery  # type: ignore[attr-defined]


@pytest.mark.parametrize(("module", "absent"), [("millrace", "flask"), ("millrace.webapp", "flask")])
def test_importing_a_package_root_loads_no_framework(module: str, absent: str) -> None:
    code = f"import {module}, sys; sys.exit({absent!r} in sys.modules or 'ssl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_owner_function_names_the_owner(make_mount: MakeMount) -> None:
    app = new_host()
    make_mount(app)
    ada = logged_in(app, "ada")
    receipt = json_of(ada.post("/millrace/api/generations", json={"message": "a"}))
    assert ada.get(receipt["events_url"].removesuffix("/events")).status_code == 200
    check_problem(logged_in(app, "eve").get(receipt["events_url"]), 404, "not_found")
    check_problem(app.test_client().get(receipt["events_url"]), 401, "unauthorized")


def test_two_apps_in_one_process_have_separate_mounts(make_mount: MakeMount) -> None:
    first, second = new_host(), new_host()
    one, two = make_mount(first), make_mount(second, url_prefix="/chat")
    assert one.services is not two.services
    assert {one, two} <= set(active_mounts())
    assert logged_in(first, "ada").get("/millrace/").status_code == 200
    assert logged_in(second, "ada").get("/chat/").status_code == 200
    assert logged_in(second, "ada").get("/millrace/").status_code == 404


def test_two_mounts_of_one_app_keep_their_settings_apart(make_mount: MakeMount) -> None:
    app = new_host()
    short = make_mount(app, url_prefix="/short", max_message_chars=5)
    long = make_mount(app, url_prefix="/long", rate_limit="2/minute")
    ada = logged_in(app, "ada")
    check_problem(ada.post("/short/api/generations", json={"message": "too long"}), 422, "invalid_field", "message")
    receipt = json_of(ada.post("/long/api/generations", json={"message": "not too long"}))
    assert receipt["events_url"] == f"/long/api/generations/{receipt['id']}/events"
    assert ada.post("/long/api/generations", json={"message": "b"}).status_code == 202
    check_problem(ada.post("/long/api/generations", json={"message": "c"}), 429, "rate_limited")
    check_problem(ada.post("/short/api/generations", json={"message": "c"}), 429, "too_many_active")
    for prefix in ("/short", "/long"):
        assert re.search(r'src="static/[0-9a-f]+/[^"]*page\.js"', ada.get(f"{prefix}/").text)
        assert ada.get(f"{prefix}/static/page.js", buffered=True).status_code == 200
        paths = json_of(ada.get(f"{prefix}/api/openapi.json"))["paths"]
        assert all(path.startswith(f"{prefix}/") for path in paths), prefix
    assert short.services.metrics.process_name != long.services.metrics.process_name
    assert short.ask("eve", "hello").events_url.startswith("/short/api/")
    with pytest.raises(Problem, match="at most 5 characters"):
        short.ask("eve", "too long")


def test_ask_creates_a_generation_that_the_browser_streams(make_mount: MakeMount, build: Build) -> None:
    app = new_host()
    mounted = make_mount(app)
    worker = build().answer_next(*WHOLE)
    generation = mounted.ask("ada", "hello", metadata={"page": "7"})
    worker.get()
    ada = logged_in(app, "ada")
    stream = ada.get(generation.events_url).text
    assert stream.count('"type":"chunk"') == 2
    assert stream.count('"type":"done"') == 1
    view = json_of(ada.get(generation.events_url.removesuffix("/events")))
    assert (view["content"], view["metadata"], view["message_id"]) == ("Hello.", {"page": "7"}, generation.message_id)
    follow_up = mounted.ask("ada", "more", conversation_id=generation.conversation_id)
    assert follow_up.conversation_id == generation.conversation_id


def test_ask_works_inside_a_request_of_the_host(make_mount: MakeMount) -> None:
    app = new_host()
    mounts = {"first": make_mount(app), "second": make_mount(app, url_prefix="/second")}
    asked: list[Generation] = []
    app.add_url_rule("/ask/<name>", "ask", lambda name: asked.append(mounts[name].ask("ada", "a")) or "ok")
    for name in mounts:
        assert app.test_client().get(f"/ask/{name}", environ_overrides={"SCRIPT_NAME": "/app"}).status_code == 200
    assert [each.cancel_url for each in asked] == [
        f"/app/millrace/api/generations/{asked[0].id}/cancel",
        f"/app/second/api/generations/{asked[1].id}/cancel",
    ]


def test_ask_validates_and_limits_as_the_route_does(make_mount: MakeMount) -> None:
    mounted = make_mount(new_host())
    for fields, status, code, field in (
        ({"message": ""}, 422, "invalid_field", "message"),
        ({"message": "a", "surprise": 1}, 422, "invalid_field", "surprise"),
        ({"message": "a", "stream": True}, 422, "invalid_field", "stream"),
        ({"message": "a", "system": "b"}, 403, "system_not_allowed", "system"),
        ({"message": "a", "conversation_id": "0" * 32}, 404, "not_found", "conversation_id"),
        ({"message": "a", "idempotency_key": ""}, 400, "bad_idempotency_key", None),
    ):
        with pytest.raises(Problem) as raised:
            mounted.ask("ada", **fields)  # type: ignore[arg-type]
        problem = raised.value
        assert (problem.status, problem.code, problem.members.get("field")) == (status, code, field)
    first, second = (mounted.ask("ada", "a", idempotency_key="k") for _ in range(2))
    assert first == second
    with pytest.raises(Problem, match="used for another request"):
        mounted.ask("ada", "b", idempotency_key="k")
    mounted.ask("ada", "b")
    with pytest.raises(Problem) as raised:
        mounted.ask("ada", "c")
    assert raised.value.code == "too_many_active"


@pytest.mark.parametrize(("name", "error"), [("broker_url", QueueUnavailable), ("redis_url", RedisUnavailable)])
def test_ask_raises_unavailable_errors_and_leaves_nothing(
    make_mount: MakeMount, client: Redis, name: str, error: type[Exception]
) -> None:
    mounted = make_mount(new_host(), **{name: f"redis://127.0.0.1:{DEAD_PORT}/0"})
    with pytest.raises(error):
        mounted.ask("ada", "a")
    assert not client.keys("mr:*:state")


def test_cancel_requires_the_owner_and_is_idempotent(make_mount: MakeMount, client: Redis) -> None:
    mounted = make_mount(new_host())
    generation = mounted.ask("ada", "a").id
    for owner, id_ in (("eve", generation), ("ada", "0" * 32), ("ada", "no id")):
        with pytest.raises(Problem) as raised:
            mounted.cancel(owner, id_)
        assert (raised.value.status, raised.value.code) == (404, "not_found")
    assert mounted.cancel("ada", generation) == "cancelled"
    assert mounted.cancel("ada", generation) == "cancelled"
    client.delete(keys_of(generation).state)
    with pytest.raises(Problem):
        mounted.cancel("ada", generation)


def test_stop_leaves_no_greenlet_and_no_connection(make_mount: MakeMount, client: Redis) -> None:
    before, connected = greenlets(), len(client.client_list())
    mounted = make_mount(new_host())
    mounted.ask("ada", "a")
    assert greenlets() - before
    mounted.stop()
    assert mounted not in active_mounts()
    wait_for(lambda: not greenlets() - before, 30, "the greenlets to end")
    wait_for(lambda: len(client.client_list()) <= connected, 30, "the connections to close")


def test_init_app_mounts_later_and_once(settings: Settings) -> None:
    later = Millrace(settings=settings, owner=user_of)
    with pytest.raises(RuntimeError, match="not mounted yet"):
        later.ask("ada", "a")
    app = new_host()
    later.init_app(app)
    assert logged_in(app, "ada").get("/millrace/healthz").status_code == 200
    with pytest.raises(RuntimeError, match="mounted already"):
        later.init_app(new_host())
    later.stop()


def test_error_names_the_wrong_argument(settings: Settings) -> None:
    wrong: list[tuple[dict[str, Any], type[Exception], str]] = [
        ({"app": "app"}, TypeError, r"^app: takes a flask\.Flask, got str"),
        ({"settings": {"redis_url": ""}}, TypeError, r"^settings: takes a millrace\.Settings or None, got dict"),
        ({"owner": "package.module:function"}, TypeError, "^owner: takes a function of the request"),
        ({"url_prefix": None}, TypeError, "^url_prefix: takes a text, got NoneType"),
        ({"url_prefix": "chat"}, ValueError, "^url_prefix: must begin with a slash"),
        ({"url_prefix": "/chat/"}, ValueError, "^url_prefix: .* not end with one"),
        ({"url_prefix": "/"}, ValueError, "^url_prefix: "),
    ]
    complete: dict[str, Any] = {"app": new_host(), "settings": settings, "owner": user_of}
    for arguments, error, message in wrong:
        with pytest.raises(error, match=message):
            Millrace(**(complete | arguments))
    with pytest.raises(TypeError, match=r"^settings: "):
        create_app("settings")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"^app: "):
        mount(create_app, settings, owner=user_of)  # type: ignore[arg-type]


def test_prefix_is_accepted_once_per_app(make_mount: MakeMount) -> None:
    app = new_host()
    make_mount(app)
    with pytest.raises(ValueError, match=r"^url_prefix: another Millrace is mounted at '/millrace'"):
        make_mount(app)


@pytest.mark.parametrize("owner", ["", " ada", "a\n", "x" * 256, 5, None])
def test_invalid_owner_is_rejected(make_mount: MakeMount, owner: Any) -> None:
    mounted = make_mount(new_host())
    with pytest.raises(ValueError, match=r"^owner: "):
        mounted.ask(owner, "a")
    with pytest.raises(ValueError, match=r"^owner: "):
        mounted.cancel(owner, "0" * 32)


def test_owner_function_that_contradicts_the_auth_setting_is_rejected(settings: Settings) -> None:
    with pytest.raises(SettingError, match=r"^MILLRACE_AUTH: is header, but Millrace has an owner function"):
        Millrace(new_host(), settings=settings.replace(auth="header", auth_header="X-User"), owner=user_of)
    with pytest.raises(SettingError, match=r"^MILLRACE_AUTH: host needs an app that passes an owner function"):
        Millrace(new_host(), settings=settings.replace(auth="host"))
    with pytest.raises(SettingError, match=r"^MILLRACE_SECRET_KEY: "):
        Millrace(new_host(), settings=settings)
    Millrace(new_host(), settings=settings.replace(auth="host"), owner=user_of).stop()


def test_create_app_takes_an_owner_function(settings: Settings) -> None:
    app = create_app(settings, owner=lambda request: request.headers.get("X-User"))
    assert app.test_client().get("/api/conversations", headers={"X-User": "ada"}).status_code == 200
    check_problem(app.test_client().get("/api/conversations"), 401, "unauthorized")
    check_problem(app.test_client().get("/absent"), 404, "not_found")
    for each in active_mounts():
        if each.services.settings == settings.replace(auth="host"):
            each.stop()


def test_programs_reach_a_mount_with_their_keys_beside_the_users_of_the_host(make_mount: MakeMount) -> None:
    app, keys = new_host(), [{"sha256": hash_of_key("mr-key"), "owner": "ada"}]
    mounted = make_mount(app, api_keys=json.dumps(keys))
    generation = mounted.ask("ada", "a")
    program, foreign = app.test_client(), {"Origin": "https://elsewhere.example"}
    key = {"Authorization": "Bearer mr-key", **foreign}
    assert program.post(generation.cancel_url, headers=key).status_code == 202
    unknown = program.post(generation.cancel_url, headers={"Authorization": "Bearer mr-other"})
    check_problem(unknown, 401, "unauthorized")
    check_problem(logged_in(app, "ada").post(generation.cancel_url, headers=foreign), 403, "cross_site")
    theirs = logged_in(app, "ada").get("/millrace/api/conversations", headers={"Authorization": "Bearer theirs"})
    assert theirs.status_code == 200, "any other token is the host's own"
