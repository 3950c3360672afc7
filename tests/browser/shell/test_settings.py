"""The settings, the shortcuts and the drawer: each works with the keyboard, and each choice survives a reload."""

from playwright.sync_api import BrowserContext, Page, Route, ViewportSize, expect

from tests.browser.conftest import visiting
from tests.browser.shell.test_list import create
from tests.browser.test_page import answer, ask, calls, expect_state
from tests.client import emulate, wait_for
from tests.system import System

PHONE: ViewportSize = {"width": 400, "height": 720}


def theme_of(page: Page) -> str | None:
    return page.evaluate("document.documentElement?.dataset.theme ?? null")


def test_theme_is_applied_in_every_tab_and_before_the_first_paint(
    page: Page, context: BrowserContext, system: System
) -> None:
    other = context.new_page()
    other.goto(system.url)
    assert theme_of(page) is None
    page.locator(".open-settings").click()
    page.locator("select[name=theme]").select_option("dark")
    for tab in (page, other):
        wait_for(lambda tab=tab: theme_of(tab) == "dark", 40, "the theme")
    other.route("**/page.js", lambda route: route.abort())  # no module runs
    other.reload(wait_until="commit")
    wait_for(lambda: theme_of(other) == "dark", 40, "the theme before the modules")
    other.close()
    page.locator("select[name=theme]").select_option("auto")
    wait_for(lambda: theme_of(page) is None, 40, "the system's theme")


def test_profile_is_saved_and_its_facts_stay(page: Page, system: System) -> None:
    profile = f"{system.url}/api/profile"
    page.request.put(profile, data={"text": "old", "facts": {"unit": "metric"}})
    page.locator(".open-settings").click()
    name, text = page.locator("[name=assistant_name]"), page.locator("textarea[name=text]")
    expect(text).to_have_value("old")
    name.fill("Wanda")
    text.fill("I build mills.")
    page.locator(".profile .save").click()
    expect(page.locator(".form-state[data-state=saved]")).to_have_text("Saved.")
    assert page.request.get(profile).json() == {
        "assistant_name": "Wanda",
        "text": "I build mills.",
        "facts": {"unit": "metric"},
    }
    text.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(".open-settings")).to_be_focused()


def test_memories_are_deleted_one_by_one_and_all_at_once(page: Page) -> None:
    kept = [{"id": f"{number:032}", "content": f"Likes <b>{number}</b>"} for number in range(3)]
    deleted: list[str] = []

    def serve(route: Route) -> None:
        if route.request.method == "DELETE":
            deleted.append(route.request.url.rpartition("/")[2])
            return route.fulfill(status=204)
        return route.fulfill(json={"memories": kept, "next": None})

    page.route("**/api/memories**", serve)
    page.locator(".open-settings").click()
    memories, all_of_them = page.locator(".memory"), page.locator(".memories-delete-all")
    expect(memories).to_have_text([each["content"] for each in kept])
    memories.nth(1).locator("button").click()
    expect(memories).to_have_count(2)
    expect(memories.nth(1).locator("button")).to_be_focused()
    all_of_them.click()
    confirm = page.locator("dialog.confirm")
    page.keyboard.press("Enter")  # the focus is on Cancel
    expect(confirm).to_have_count(0)
    expect(memories).to_have_count(2)
    all_of_them.click()
    confirm.locator("[value=yes]").click()
    expect(memories).to_have_count(0)
    expect(page.locator(".memories-empty")).to_have_text("Nothing is remembered.")
    assert deleted == [kept[1]["id"], "memories"]


def test_chosen_model_answers_the_next_question_and_one_that_is_gone_is_forgotten(page: Page, system: System) -> None:
    offered = page.request.get(f"{system.url}/api/models").json()["models"]
    page.locator(".open-settings").click()
    model = page.locator("select[name=model]")
    expect(model.locator("option")).to_have_count(1 + len(offered))
    name = offered[-1]["name"]
    model.select_option(name)
    page.keyboard.press("Escape")
    page.reload()
    with page.expect_request("**/api/generations") as asked:
        ask(page, emulate(text="By the chosen one.", rate=0))
    assert (asked.value.post_data_json or {})["model"] == name
    expect_state(page, "completed")
    page.route("**/api/models", lambda route: route.fulfill(json={"default": "x", "models": [{"name": "x"}]}))
    page.locator(".open-settings").click()
    expect(model).to_have_value("")
    page.keyboard.press("Escape")
    expect(page.locator("#send")).to_be_visible()
    with page.expect_request("**/api/generations") as asked:
        page.locator("#question").fill(emulate(text="By the server's.", rate=0))
        page.keyboard.press("Enter")
    assert "model" not in (asked.value.post_data_json or {})


def test_answer_arrives_without_streams_as_soon_as_they_are_off(page: Page, system: System) -> None:
    page.locator(".open-settings").click()
    page.locator("select[name=streaming]").select_option("off")
    page.keyboard.press("Escape")
    streams: list[str] = []
    page.on("request", lambda request: streams.extend([request.url] if "/events" in request.url else []))
    message = emulate(text="Polled.", rate=0)
    ask(page, message)
    expect_state(page, "completed")
    assert answer(page).strip() == "Polled."
    assert streams == []
    assert len(calls(system, message)) == 1


def test_shortcuts_work_from_the_question_and_take_no_key_from_it(page: Page, system: System) -> None:
    create(page, system, "shortcut")
    page.reload()
    box, help_sheet = page.locator("#question"), page.locator("dialog.help")
    expect(page.locator("#conversations a")).to_have_count(1)
    box.click()
    page.keyboard.type("?/ ok")
    assert box.input_value() == "?/ ok"
    expect(help_sheet).to_have_count(0)
    page.keyboard.press("Control+/")
    expect(help_sheet).to_be_visible()
    expect(help_sheet.locator("kbd", has_text="Ctrl").first).to_be_visible()
    page.keyboard.press("Control+k")  # a dialog keeps the keys to itself
    expect(help_sheet).to_be_visible()
    page.keyboard.press("Escape")
    expect(help_sheet).to_have_count(0)
    page.keyboard.press("Control+k")
    expect(page.locator(".search-box")).to_be_focused()
    page.keyboard.press("Control+Shift+s")
    expect(page.locator("#conversations")).to_be_hidden()
    expect(page.locator(".sidebar-toggle")).to_be_focused()
    page.keyboard.press("/")
    expect(box).to_be_focused()
    page.reload()
    expect(page.locator("#conversations")).to_be_hidden()  # the choice is kept
    page.keyboard.press("Control+k")
    expect(page.locator(".search-box")).to_be_focused()
    page.locator("#conversations a").click()
    expect(page.locator("#conversations [aria-current=page]")).to_have_count(1)
    page.locator("#new").focus()
    page.keyboard.press("?")
    expect(help_sheet).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("Control+Shift+o")
    expect(page.locator("#conversations [aria-current=page]")).to_have_count(0)
    page.keyboard.press("Control+,")
    expect(page.locator("dialog.settings")).to_be_visible()


def test_drawer_of_a_narrow_page_takes_the_focus_and_closes_by_a_choice_escape_and_a_click_beside_it(
    context: BrowserContext, system: System
) -> None:
    with visiting(context, system.url) as page:
        page.set_viewport_size(PHONE)
        create(page, system, "first", "second")
        page.reload()
        drawer, toggle = page.locator("#conversations"), page.locator(".sidebar-toggle")
        expect(drawer).to_be_hidden()
        toggle.click()
        expect(drawer).to_be_visible()
        expect(page.locator(".sidebar-close")).to_be_focused()
        for _ in range(12):
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.closest('main, .bar')") is None
        page.locator("#conversations a", has_text="first").click()
        expect(drawer).to_be_hidden()
        expect(page.locator("#title")).to_have_text("first")
        toggle.click()
        page.keyboard.press("Escape")
        expect(drawer).to_be_hidden()
        expect(toggle).to_be_focused()
        toggle.click()
        page.mouse.click(PHONE["width"] - 10, 300)
        expect(drawer).to_be_hidden()
        page.set_viewport_size({"width": 1280, "height": 720})
        expect(drawer).to_be_visible()


def test_example_of_the_welcome_is_asked_with_one_click(page: Page) -> None:
    examples = page.locator(".welcome .example")
    expect(examples).to_have_count(3)
    text = examples.nth(1).text_content() or ""
    examples.nth(1).click()
    expect(page.locator(".question")).to_have_text(text)
    expect(page.locator(".welcome")).to_be_hidden()
    page.locator("#new").click()
    expect(page.locator(".welcome")).to_be_visible()
