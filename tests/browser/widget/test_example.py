"""The example page of the documentation, as its files stand: only the address of the server is replaced."""

import re
from pathlib import Path

from playwright.sync_api import expect

from tests.browser.test_page import answer, ask, expect_state
from tests.browser.widget.conftest import Visit
from tests.browser.widget.host_site import HostSite
from tests.client import emulate, wait_for
from tests.system import ROOT, System

EXAMPLE = ROOT / "deploy/examples/widget"
SERVER = "http://127.0.0.1:8000"


def put(site: HostSite, path: Path, system: System) -> str:
    return site.put(f"/shop/{path.name}", path.read_text("utf-8").replace(SERVER, system.url))


def test_example_asks_from_its_button_keeps_the_conversation_and_its_own_shortcut(
    visit: Visit, site: HostSite, embedded: System
) -> None:
    page = visit("")
    addresses = {path.name: put(site, path, embedded) for path in EXAMPLE.iterdir()}
    page.goto(addresses["index.html"])
    page.get_by_role("button", name="How does a millrace work?").click()
    expect_state(page, "completed")
    expect(page.locator("#report")).to_have_text(re.compile(r"^The answer has \d{2,} characters\.$"))
    ask(page, emulate(text="Through a weir."))
    wait_for(lambda: answer(page) == "Through a weir.", 40, "the second answer")
    expect_state(page, "completed")
    page.reload()
    expect(page.locator(".turn")).to_have_count(2)
    assert answer(page) == "Through a weir."
    page.locator("#question").press_sequentially("a/b")
    assert page.locator("#question").input_value() == "a/b"
    page.locator("button#ask").press("/")
    expect(page.locator("#search")).to_be_focused()
