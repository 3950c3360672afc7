"""In a real browser, a form of another site costs a visitor neither the cookie nor the conversations."""

from typing import Any

from playwright.sync_api import BrowserContext, Page

from tests.browser.test_cors import elsewhere
from tests.system import System

SUBMIT_FORM = """base => {
  const form = document.createElement("form");
  form.method = "post";
  form.enctype = "text/plain";
  form.action = base + "/api/conversations";
  document.body.append(form);
  form.submit();
}"""

CREATE = """async () => (await fetch("/api/conversations", {
  method: "POST", headers: { "Content-Type": "application/json" }, body: "{}",
})).status"""


def listed(page: Page) -> Any:
    return page.evaluate('async () => await (await fetch("/api/conversations")).json()')


def test_form_of_another_site_leaves_the_cookie_and_the_conversations(
    page: Page, context: BrowserContext, system: System
) -> None:
    assert page.evaluate(CREATE) == 201
    cookies, conversations = context.cookies(system.url), listed(page)
    assert cookies
    with elsewhere("localhost") as origin:
        attacker = context.new_page()
        attacker.goto(origin)
        with attacker.expect_response(lambda response: "/api/conversations" in response.url) as refused:
            attacker.evaluate(SUBMIT_FORM, system.url)
        assert "cookie" not in refused.value.request.all_headers()  # Lax withholds it
        assert refused.value.status == 403
        assert refused.value.json()["code"] == "cross_site"
        assert "set-cookie" not in refused.value.all_headers()
        attacker.close()
    assert context.cookies(system.url) == cookies
    assert listed(page) == conversations
