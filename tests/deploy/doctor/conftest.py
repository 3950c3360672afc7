"""One running system behind several nginx servers, each with faults of its own, all checked side by side."""

import os
import ssl
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import certifi
import pytest

from deploy.doctor import streams, visitor
from deploy.doctor.report import Finding
from deploy.doctor.streams import check_url
from millrace.worker.settings.schema import Settings
from tests.browser.nginx import Nginx, block, buffering, program, put
from tests.system import System
from tests.valkey import ValkeyProcess

PAGE = "behind-nginx.md"
HEARTBEAT_SECONDS = 2.0
HOST, ADDRESS = "Host $http_host; ", "X-Forwarded-For $remote_addr;"
LOCATION = "    location / { proxy_pass http://millrace; }\n"
LISTEN = "    listen 80;                              # inside a network; HTTPS is below\n"


@pytest.fixture(scope="package")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyProcess]:
    """The stream node of the system, on which its generations are."""
    with ValkeyProcess(tmp_path_factory.mktemp("node")) as running:
        yield running


@pytest.fixture(scope="package")
def system(tmp_path_factory: pytest.TempPathFactory, node: ValkeyProcess) -> Iterator[System]:
    settings = {
        "MILLRACE_TRUSTED_PROXIES": "1",
        "MILLRACE_HEARTBEAT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
        "MILLRACE_STREAM_REDIS_URLS": f"a={node.url}",
    }
    with System(tmp_path_factory.mktemp("system"), **settings) as running:
        yield running


@pytest.fixture(scope="package")
def settings(system: System, node: ValkeyProcess) -> Settings:
    """The settings of the system, as far as the checks of an address need them."""
    nodes = (("a", node.url),)
    return Settings.of(
        redis_url=system.redis_url, stream_redis_urls=nodes, trusted_proxies=1, heartbeat_seconds=HEARTBEAT_SECONDS
    )


def configurations(certificate: Path) -> dict[str, str]:
    """Return each nginx configuration by its name; all but `documented` have faults."""
    good = block(PAGE)
    changing = put(good, HOST, "Host millrace; ")
    changing = put(changing, ADDRESS, 'X-Forwarded-For $http_x_forwarded_for; proxy_set_header Last-Event-ID "";')
    secure = put(block(PAGE, 1), "/etc/ssl/chat.example.com.pem", str(certificate))
    secure = put(secure, "/etc/ssl/chat.example.com.key", str(certificate.with_suffix(".key")))
    below = "location /chat/ { proxy_pass http://millrace/; proxy_hide_header Set-Cookie; }"
    return {
        "documented": good,
        "buffering": buffering(good),
        "cutting": put(good, "proxy_read_timeout 310s;", "proxy_read_timeout 1s;"),
        "changing": changing,
        "below": put(good, LOCATION, below),
        "https": put(put(good, LISTEN, secure), "X-Forwarded-Proto $scheme", "X-Forwarded-Proto http"),
    }


@pytest.fixture(scope="package")
def found_behind(
    system: System, settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, list[Finding]]:
    """The findings behind each nginx."""
    if program() is None:
        assert "CI" not in os.environ, "there is no nginx to test with: install nginx-light"
        pytest.skip("there is no nginx to test with: install nginx-light")
    directory = tmp_path_factory.mktemp("nginx")
    certificate = directory / "chat.pem"
    subject = ["-subj", "/CN=chat", "-addext", "subjectAltName=IP:127.0.0.1", "-days", "1", "-out", str(certificate)]
    key = ["-keyout", str(certificate.with_suffix(".key"))]
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject, *key], check=True, capture_output=True
    )
    port = urlsplit(system.url).port
    assert port
    with ExitStack() as running, pytest.MonkeyPatch.context() as patches:
        patches.setattr(streams, "PACE_SECONDS", 0.1)
        patches.setattr(streams, "LATE_HEARTBEAT_SECONDS", 1.0)
        patches.setattr(streams, "WHOLE_SECONDS", 3.0)
        patches.setattr(visitor, "_certificates", lambda: trusting(certificate))
        urls: dict[str, str] = {}
        for name, code in configurations(certificate).items():
            nginx = running.enter_context(Nginx(directory / name, code, port))
            address = nginx.url("127.0.0.1", "https" if name == "https" else "http")
            urls[name] = f"{address}/chat" if name == "below" else address
        with ThreadPoolExecutor(len(urls)) as beside:
            found = beside.map(lambda url: list(check_url(url, {}, settings)), urls.values())
            return dict(zip(urls, found, strict=True))


def trusting(certificate: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certifi.where())
    context.load_verify_locations(certificate)
    return context
