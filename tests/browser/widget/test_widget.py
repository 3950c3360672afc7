"""`<millrace-chat>` on a page of another origin: it streams, reports, and keeps apart from the page around it."""

import re
from typing import Any

from playwright.sync_api import Page, Request, Route, expect

from deploy.emulator.picture import make_png
from tests.browser.test_page import TEXT, answer, ask, expect_state, slowly
from tests.browser.widget.conftest import KEYS, Visit
from tests.client import emulate, wait_for
from tests.system import ROOT, System

LISTEN = """<script>
window.seen = [];
for (const type of ["millrace-asked", "millrace-answered", "millrace-error"])
  document.addEventListener(type, (event) => seen.push([type.slice(9), event.target.id, event.detail]));
</script>"""
STRICT = (
    "default-src 'none'; script-src {system} 'nonce-host'; connect-src {system}; img-src {system}; font-src {system}; "
    "style-src 'none'; base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
)
# Rules of the page around for everything, which a chat that stood in the page itself would obey.
HOSTILE = """<style>
* { color: red !important; font-size: 40px !important; display: inline !important; background: lime !important }
html { letter-spacing: 1em; text-transform: uppercase; line-height: 4; visibility: visible }
textarea, button { display: none !important; border: 10px solid red !important }
</style>"""
LOOK = """() => {
  const seen = {};
  const root = document.querySelector("millrace-chat").shadowRoot;
  for (const each of root.getAnimations()) if (each instanceof CSSTransition) each.finish();
  for (const selector of ["#question", "#send", ".question", ".answer", "#turns", ".buttons"]) {
    const style = getComputedStyle(root.querySelector(selector));
    const names = ["color", "fontSize", "display", "backgroundColor", "letterSpacing", "textTransform", "lineHeight",
      "borderTopWidth", "fontFamily"];
    seen[selector] = names.map((name) => name + ": " + style[name]);
  }
  return seen;
}"""
NOTE_REVOKED = """() => {
  const revoke = URL.revokeObjectURL;
  window.revoked = [];
  URL.revokeObjectURL = (url) => { window.revoked.push(url); revoke.call(URL, url); };
}"""
CHAT = "millrace-chat"
EVENTS = re.compile(r"/api/events\?")


def widget(page: Page, call: str) -> Any:
    return page.evaluate(f"document.querySelector('millrace-chat').{call}")


def seen(page: Page) -> list[Any]:
    return page.evaluate("seen")


def pumped(page: Page) -> bool:
    """Let the events of the page arrive, which Playwright hands out during calls only."""
    return page.evaluate("true")


def test_answer_streams_into_the_shadow_root_and_events_report_it(visit: Visit) -> None:
    page = visit(f"{LISTEN}<millrace-chat id=mill placeholder='Ask about mills'></millrace-chat>")
    expect(page.locator("#question")).to_have_attribute("placeholder", "Ask about mills")
    ask(page, slowly(TEXT + "embedded"))
    wait_for(lambda: len(answer(page)) > 200, 40, "some text")
    assert len(answer(page)) < len(TEXT)
    expect_state(page, "completed")
    assert answer(page) == TEXT + "embedded"
    assert page.evaluate("document.querySelector('.turn')") is None, "the chat stands in the page itself"
    wait_for(lambda: len(seen(page)) == 2, 40, "the report of the end, which comes after the outcome")
    asked, answered = seen(page)
    conversation = widget(page, "conversation")
    assert asked == ["asked", "mill", {"conversation": conversation}]
    assert re.fullmatch("[0-9a-f]{32}", answered[2].pop("generation"))
    assert answered == [
        "answered",
        "mill",
        {"conversation": conversation, "status": "completed", "text": TEXT + "embedded"},
    ]


def test_methods_ask_stop_and_open_and_the_attribute_opens_after_a_reload(visit: Visit) -> None:
    page = visit(f"{LISTEN}<millrace-chat></millrace-chat>")
    assert widget(page, f"ask({emulate(text='From a method.')!r})") is True
    expect_state(page, "completed")
    assert answer(page) == "From a method."
    first = widget(page, "conversation")
    expect(page.locator("#send")).to_be_enabled()
    expect(page.locator(".greeting")).to_be_hidden()
    widget(page, "open(null)")
    expect(page.locator(".turn")).to_have_count(0)
    expect(page.get_by_role("heading", name="How can I help?")).to_be_visible()
    assert widget(page, f"ask({emulate(tokens=2000, rate=50, chars=5)!r})") is True
    wait_for(lambda: len(answer(page)) > 50, 40, "some text")
    widget(page, "stop()")
    expect_state(page, "cancelled")
    second = widget(page, "conversation")
    assert len({first, second, None}) == 3
    wait_for(lambda: seen(page)[-1][2].get("status") == "cancelled", 40, "the report of the end")
    page = visit(f"{LISTEN}<millrace-chat conversation={first}></millrace-chat>")
    expect_state(page, "completed")
    assert answer(page) == "From a method."
    widget(page, f"setAttribute('conversation', '{second}')")
    expect_state(page, "cancelled")
    page.evaluate("document.querySelector('millrace-chat').conversation = null")
    expect(page.locator(".turn")).to_have_count(0)


def test_words_of_the_page_around_take_the_place_of_the_greeting_until_the_first_question(visit: Visit) -> None:
    page = visit("<millrace-chat><p slot=greeting>Ask the <button id=miller>miller</button></p></millrace-chat>")
    expect(page.get_by_text("Ask the")).to_be_visible()
    expect(page.locator(".greeting-title")).to_be_hidden()
    page.evaluate(
        "text => miller.addEventListener('click', () => document.querySelector('millrace-chat').ask(text))",
        emulate(text="He grinds."),
    )
    page.locator("#miller").click()
    expect_state(page, "completed")
    assert answer(page) == "He grinds."
    expect(page.get_by_text("Ask the")).to_be_hidden()


def test_reload_in_the_middle_goes_on_to_the_exact_text(visit: Visit) -> None:
    page = visit("<millrace-chat></millrace-chat>")
    ask(page, slowly(TEXT + "again"))
    wait_for(lambda: len(answer(page)) > 200, 40, "some text")
    page = visit(f"<millrace-chat conversation={widget(page, 'conversation')}></millrace-chat>")
    wait_for(lambda: len(answer(page)) > 200, 40, "the text again")
    expect_state(page, "completed")
    assert answer(page) == TEXT + "again"


def test_refused_question_is_reported_and_goes_back_into_the_box(visit: Visit) -> None:
    page = visit(f"{LISTEN}<millrace-chat></millrace-chat>")
    page.route("**/api/generations", lambda route: route.fulfill(status=422, json={"code": "no", "detail": "Not now."}))
    ask(page, "Refuse this.")
    expect(page.locator("#notice")).to_have_text("Not now.")
    assert page.locator("#question").input_value() == "Refuse this."
    assert seen(page) == [["error", "", {"action": "ask", "message": "Not now.", "status": 422, "code": "no"}]]


def test_strictest_policy_of_the_page_around_that_names_the_server_is_enough(visit: Visit, embedded: System) -> None:
    page = visit("<millrace-chat theme=dark></millrace-chat>", STRICT.format(system=embedded.url))
    ask(page, emulate(text="# Within\n\n```js\nlet policy;\n```\n\n$x^2$"))
    expect_state(page, "completed")
    expect(page.locator(".katex .katex-html")).to_be_visible()
    assert page.locator("#question").evaluate("each => getComputedStyle(each).resize") == "none", "no styles"
    fonts = "[...document.fonts].filter(({ status }) => status === 'loaded').map(({ family }) => family)"
    wait_for(lambda: "KaTeX_Math" in page.evaluate(fonts), 40, "the formula's font")


def test_rules_of_the_page_around_do_not_reach_the_chat(visit: Visit) -> None:
    looks: list[Any] = []
    for style in ("", HOSTILE):
        page = visit(f"{style}<p>Around</p><millrace-chat></millrace-chat>")
        ask(page, emulate(text="Plain."))
        expect_state(page, "completed")
        expect(page.locator("#send")).to_be_enabled()
        looks.append(page.evaluate(LOOK))
    assert looks[0] == looks[1]
    assert page.evaluate("getComputedStyle(document.querySelector('p')).color") == "rgb(255, 0, 0)"


def test_page_around_keeps_its_own_look_and_names(visit: Visit) -> None:
    page = visit("<p id=question class=chat>Around</p>")
    script = "() => Object.entries(getComputedStyle(document.querySelector('p'))).map(String)"
    before, names = page.evaluate(script), set(page.evaluate("Object.keys(window)"))
    page.evaluate("document.body.append(document.createElement('millrace-chat'))")
    expect(page.locator("millrace-chat #send")).to_be_visible()
    assert page.evaluate(script) == before
    assert set(page.evaluate("Object.keys(window)")) == names


def test_keys_typed_in_the_chat_do_not_reach_the_page_around_and_the_focus_stays(visit: Visit) -> None:
    page = visit("""<script>
      window.keys = [];
      for (const type of ["keydown", "keypress", "keyup"]) document.addEventListener(type, ({ key }) => keys.push(key));
    </script><input id=own autofocus><millrace-chat></millrace-chat>""")
    expect(page.locator("#send")).to_be_visible()
    expect(page.locator("#own")).to_be_focused()
    page.locator("#question").press_sequentially("kj/?")
    page.locator("#question").press("Control+k")
    assert page.evaluate("keys") == []
    page.locator("#own").press("j")
    assert page.evaluate("keys") == ["j", "j", "j"]
    ask(page, emulate(tokens=2000, rate=50, chars=5))
    wait_for(lambda: len(answer(page)) > 20, 40, "some text")
    page.locator("#own").focus()
    widget(page, "stop()")
    expect_state(page, "cancelled")
    expect(page.locator("#own")).to_be_focused()
    widget(page, f"ask({emulate(tokens=2000, rate=50, chars=5)!r})")
    expect_state(page, "running", 1)
    wait_for(lambda: len(answer(page)) > 20, 40, "some text")
    page.locator("#question").press("Escape")
    expect_state(page, "cancelled")
    expect(page.locator("#question")).to_be_focused()
    receipt = page.locator(".turn:last-child .receipt-button")
    receipt.click()
    expect(page.locator(".turn:last-child .receipt")).to_be_visible()
    page.locator(".turn:last-child .receipt-list").click()
    expect(page.locator(".turn:last-child .receipt")).to_be_visible()
    page.locator("#own").click()
    expect(page.locator(".turn:last-child .receipt")).to_be_hidden()


def test_two_chats_are_independent_and_removal_closes_the_connection(visit: Visit) -> None:
    page = visit("<millrace-chat id=one></millrace-chat><millrace-chat id=two></millrace-chat>")
    open_ones: set[Request] = set()
    page.on("request", lambda request: EVENTS.search(request.url) and open_ones.add(request))

    def close(request: Request) -> None:
        open_ones.discard(request)

    page.on("requestfailed", close)
    page.on("requestfinished", close)
    one, two = page.locator("#one"), page.locator("#two")
    both = [emulate(text=f"{text} {TEXT}end", tokens=150, rate=40) for text in ("First", "Second")]
    assert page.evaluate(
        "both => Promise.all(both.map((each, index) => window[['one', 'two'][index]].ask(each)))", both
    )
    wait_for(lambda: all(each.locator(".answer").text_content() for each in (one, two)), 40, "both texts")
    one.evaluate("each => document.body.append(each)")  # it is moved, and goes on
    expect(one.locator(".turn")).to_have_attribute("data-state", "completed")
    assert one.locator(".answer").text_content() == f"First {TEXT}end"
    expect(two.locator(".turn")).to_have_attribute("data-state", "completed")
    wait_for(lambda: pumped(page) and len(open_ones) == 2, 40, "the connections")
    two.evaluate("each => each.remove()")
    wait_for(lambda: pumped(page) and len(open_ones) == 1, 40, "the end of the second one's connection")
    one.evaluate("each => { window.kept = each; each.remove(); }")
    wait_for(lambda: pumped(page) and not open_ones, 40, "the end of all connections")
    page.evaluate("document.body.append(kept)")  # in a document again, it opens the same conversation
    expect(page.locator(".turn")).to_have_attribute("data-state", "completed")
    assert answer(page) == f"First {TEXT}end"


def test_bearer_token_of_a_function_is_sent_with_each_request_and_stream(visit: Visit) -> None:
    page = visit(f"<script>window.key = '{KEYS[0]}'</script><millrace-chat></millrace-chat>")
    sent: list[dict[str, str]] = []

    def note(request: Request) -> None:
        if "/api/" in request.url:
            sent.append(request.headers)

    page.on("request", note)
    page.evaluate("chat => chat.headers = async () => ({ Authorization: `Bearer ${key}` })", page.query_selector(CHAT))
    ask(page, slowly(TEXT + "keyed"))
    wait_for(lambda: len(answer(page)) > 200, 40, "some text")
    conversation = widget(page, "conversation")
    page.reload()
    page.evaluate("chat => chat.headers = async () => ({ Authorization: `Bearer ${key}` })", page.query_selector(CHAT))
    widget(page, f"open('{conversation}')")
    expect_state(page, "completed")
    assert answer(page) == TEXT + "keyed"
    assert page.context.cookies() == []
    keyed = [each for each in sent if each.get("authorization") == f"Bearer {KEYS[0]}"]
    assert len(keyed) > 4
    assert not [each for each in sent if "cookie" in each]


def test_widget_adopts_every_style_sheet_of_the_page_but_those_of_its_shell() -> None:
    sheet = (ROOT / "webapp/static/styles/page.css").read_text("utf-8")
    linked = re.findall(r'@import "([^"]+).css";', sheet)
    (adopted,) = re.findall(r"STYLES = \[(.*?)\]", (ROOT / "webapp/static/widget.js").read_text("utf-8"), re.DOTALL)
    expected = ["widget", *(each for each in linked if each not in ("list", "shell"))]
    assert re.findall(r'"([^"]+)"', adopted) == expected


def test_new_conversations_of_two_chats_have_a_draft_each_that_survives_a_reload(visit: Visit) -> None:
    page = visit("<millrace-chat id=one></millrace-chat><millrace-chat></millrace-chat><millrace-chat></millrace-chat>")
    boxes = page.locator("#question")
    expect(boxes).to_have_count(3)
    for number in range(3):
        boxes.nth(number).fill(f"draft {number}")
    page.reload()
    expect(boxes).to_have_count(3)
    for number in range(3):
        expect(boxes.nth(number)).to_have_value(f"draft {number}")


def test_image_of_an_answer_is_fetched_with_the_bearer_token_and_its_address_is_given_back(
    visit: Visit, embedded: System
) -> None:
    policy = STRICT.format(system=embedded.url).replace("img-src ", "img-src blob: ")
    page = visit("<millrace-chat></millrace-chat>", policy)
    key = f"Bearer {KEYS[1]}"
    page.evaluate("([chat, key]) => (chat.headers = { Authorization: key })", [page.query_selector(CHAT), key])
    ask(page, emulate(text="An image."))
    expect_state(page, "completed")
    conversation, asked = widget(page, "conversation"), list[str | None]()

    def add_image(route: Route) -> None:  # the emulated model draws none
        response = route.fetch()
        listed = response.json()
        listed["messages"][-1]["images"] = [{"id": "0" * 32, "format": "png"}]
        route.fulfill(response=response, json=listed)

    def send_image(route: Route) -> None:
        asked.append(route.request.headers.get("authorization"))
        allowed = {"Access-Control-Allow-Origin": "*"}
        route.fulfill(content_type="image/png", body=make_png("An image."), headers=allowed)

    page.evaluate(NOTE_REVOKED)
    page.route("**/messages?*", add_image)
    page.route("**/images/*", send_image)
    widget(page, "open(null)")
    page.evaluate("chat => (chat.headers = chat.headers)", page.query_selector(CHAT))  # begins again, with nothing kept
    widget(page, f"open('{conversation}')")
    image = page.locator(".images img")
    wait_for(lambda: image.evaluate("each => each.naturalWidth"), 40, "the image")
    address = image.get_attribute("src")
    assert address is not None
    assert address.startswith("blob:")
    assert asked == [key]
    wait_for(lambda: page.evaluate("revoked") == [address], 40, "the end of the address")
    assert page.context.cookies() == []
