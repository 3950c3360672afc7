"""The first five minutes in Firefox: ask, read along, stop, reload, resume, list, delete."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.browser.test_page import TEXT, calls
from tests.browser.widget.conftest import HTML
from tests.browser.widget.firefox import ENTER, Firefox
from tests.browser.widget.host_site import HostSite
from tests.client import emulate, wait_for
from tests.system import System

STATE = "document.querySelector('.turn:last-child')?.dataset.state"
ANSWER = "[...document.querySelectorAll('.answer')].at(-1)?.textContent ?? ''"


@pytest.fixture
def firefox(tmp_path: Path) -> Iterator[Firefox]:
    program = shutil.which("firefox-esr") or shutil.which("firefox")
    if program is None:
        assert "CI" not in os.environ, "there is no Firefox to test with: install firefox-esr"
        pytest.skip("there is no Firefox to test with: install firefox-esr")
    with Firefox(program, tmp_path) as running:
        yield running


def ask(firefox: Firefox, message: str) -> None:
    firefox.wait_for("document.querySelector('#send')?.disabled === false")
    firefox.evaluate("document.querySelector('#question').focus()")
    firefox.evaluate(f"document.execCommand('insertText', false, {json.dumps(message)})")  # as a paste, which is quick
    firefox.wait_for(f"document.querySelector('#question').value === {json.dumps(message)}")
    firefox.type(ENTER)


def test_first_five_minutes_in_firefox(firefox: Firefox, system: System) -> None:
    firefox.open(system.url)
    text = TEXT + "fox"
    ask(firefox, emulate(text=text, tokens=150, rate=20))
    wait_for(lambda: len(firefox.evaluate(ANSWER)) > 200, 30, "some text")
    assert len(firefox.evaluate(ANSWER)) < len(text)
    firefox.reload()
    firefox.wait_for(f"{STATE} === 'completed'")
    assert firefox.evaluate(ANSWER) == text
    message = emulate(tokens=2001, chars=5, rate=50)
    ask(firefox, message)
    firefox.wait_for(f"{STATE} === 'running' && ({ANSWER}).length > 50")
    firefox.click("#stop")
    firefox.wait_for(f"{STATE} === 'cancelled'")
    wait_for(lambda: [each["ended"] for each in calls(system, message)] == ["closed_by_client"], 40, "the call's end")
    firefox.click("#new")
    firefox.wait_for("document.querySelector('.turn') === null")
    firefox.click("#conversations li a")
    firefox.wait_for(f"document.querySelectorAll('.turn').length === 2 && {STATE} === 'cancelled'")
    firefox.click("#conversations li .item-more")
    firefox.click("#conversations [data-action=delete]")
    firefox.wait_for("document.querySelector('#conversations li') === null && document.querySelector('.turn') === null")


def test_widget_streams_and_stops_on_a_page_of_another_origin_in_firefox(
    firefox: Firefox, site: HostSite, embedded: System
) -> None:
    body = "<style>* { color: red !important }</style><millrace-chat></millrace-chat>"
    firefox.open(site.put("/", HTML.format(system=embedded.url, body=body)))
    root = "document.querySelector('millrace-chat').shadowRoot"
    state, text = (
        f"{root}.querySelector('.turn:last-child')?.dataset.state",
        f"{root}.querySelector('.answer').textContent",
    )
    firefox.wait_for(f"{root}?.querySelector('#question') != null")
    firefox.evaluate(f"{root}.querySelector('#question').focus()")
    message = emulate(tokens=2002, chars=5, rate=50)
    firefox.evaluate(f"document.execCommand('insertText', false, {json.dumps(message)})")
    firefox.type(ENTER)
    firefox.wait_for(f"{state} === 'running' && {text}.length > 50")
    assert firefox.evaluate(f"getComputedStyle({root}.querySelector('.answer')).color") != "rgb(255, 0, 0)"
    firefox.evaluate(f"{root}.querySelector('#stop').click()")
    firefox.wait_for(f"{state} === 'cancelled'")
    wait_for(lambda: calls(embedded, message)[-1]["ended"] == "closed_by_client", 40, "the call's end")
    assert firefox.evaluate(f"{text}.length") > 50
