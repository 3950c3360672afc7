"""The route without a handshake, and without the package that parses frames."""

import subprocess
import sys

from tests.webapp.harness import WebHarness, check_problem

WITHOUT = """
import sys
from importlib import util
sys.modules["wsproto"] = None
find_spec = util.find_spec
util.find_spec = lambda name, package=None: None if name == "wsproto" else find_spec(name, package)
from gevent import monkey
monkey.patch_all()
from millrace.webapp import create_app
from tests.webapp.facades.websocket.handshake_headers import HANDSHAKE
from tests.webapp.harness import UNLIMITED
client = create_app(UNLIMITED.replace(redis_url="redis://127.0.0.1:1/0")).test_client()
print(client.get("/healthz").status_code, client.get("/api/ws", headers=HANDSHAKE).text)
"""


def test_request_that_is_no_handshake_is_told_what_is_missing(site: WebHarness) -> None:
    answer = site.user.get("/api/ws")
    check_problem(answer, 426, "upgrade_required")
    assert answer.headers["Upgrade"] == "websocket"


def test_server_without_the_package_starts_and_says_what_to_install() -> None:
    run = subprocess.run([sys.executable, "-c", WITHOUT], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("200 ")
    assert '"status": 501' in run.stdout
    assert "pip install 'millrace[websocket]'" in run.stdout
