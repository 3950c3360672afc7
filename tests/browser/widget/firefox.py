"""Firefox in a process of its own, driven over WebDriver BiDi, which it speaks itself."""

import json
import re
import subprocess
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websockets.sync.client import connect

from tests.client import wait_for

SECONDS = 60
LISTENING = re.compile(r"WebDriver BiDi listening on (ws://\S+)")
ENTER = "\ue007"


class Firefox:
    """One window, from `with` to the end of its block; the profile is in a directory of the test."""

    def __init__(self, program: str, directory: Path) -> None:
        self._log = directory / "firefox.log"
        profile = directory / "profile"
        profile.mkdir()
        flags = ["--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)]
        self._command = [program, *flags, "about:blank"]
        self._numbers = count(1)

    def __enter__(self) -> Self:
        """Start it and open a session."""
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        address = wait_for(lambda: LISTENING.search(self._log.read_text("utf-8", "replace")), SECONDS, "Firefox")[1]
        self._socket = connect(f"{address}/session", max_size=None, proxy=None)
        self._socket.__enter__()
        self.call("session.new", capabilities={})
        self._window = self.call("browsingContext.getTree")["contexts"][0]["context"]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._socket.__exit__(kind, error, trace)
        self._process.terminate()
        self._process.wait(SECONDS)

    def call(self, method: str, **parameters: Any) -> Any:
        """Send a command and return its result; fails where the browser reports an error."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            reply = json.loads(self._socket.recv(SECONDS))
            if reply.get("id") == number:
                assert reply["type"] == "success", reply
                return reply["result"]

    def open(self, url: str) -> None:
        """Open an address."""
        self.call("browsingContext.navigate", context=self._window, url=url, wait="complete")

    def reload(self) -> None:
        """Load the page again."""
        self.call("browsingContext.reload", context=self._window, wait="complete")

    def evaluate(self, expression: str) -> Any:
        """Return a value of the page that JSON can hold."""
        code = f"JSON.stringify({expression}) ?? 'null'"
        made = self.call("script.evaluate", expression=code, target={"context": self._window}, awaitPromise=False)
        assert made["type"] == "success", made
        return json.loads(made["result"]["value"])

    def wait_for(self, expression: str) -> Any:
        """Return an expression's first true value."""
        return wait_for(lambda: self.evaluate(expression), SECONDS, expression)

    def click(self, selector: str) -> None:
        """Click an element once it can be clicked."""
        found = f"document.querySelector({selector!r})"
        self.wait_for(f"{found} !== null && !{found}.disabled && {found}.checkVisibility()")
        self.evaluate(f"{found}.click()")

    def type(self, text: str) -> None:
        """Press keys, for the element that has the focus."""
        keys = [{"type": kind, "value": key} for key in text for kind in ("keyDown", "keyUp")]
        source = {"type": "key", "id": "keyboard", "actions": keys}
        self.call("input.performActions", context=self._window, actions=[source])
