"""The sidebar's list: actions of each conversation, deletion that can be undone, days, search, endless scrolling."""

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import visiting
from tests.browser.test_conversations import shown
from tests.browser.test_page import answer, ask, calls, expect_state, hold_timers
from tests.client import emulate, wait_for
from tests.system import System

TOAST_MS = 8000  # how long the page shows one
MARCH = {"created_at": "2026-03-01", "updated_at": "2026-03-01", "active_generation": None}


def create(page: Page, system: System, *titles: str) -> list[str]:
    """Create empty conversations; the last one is the first in the list."""
    created: list[str] = []
    for title in titles:
        response = page.request.post(f"{system.url}/api/conversations", data={"title": title})
        created.append(response.json()["id"])
    return created


def choose_action(page: Page, conversation: str, action: str) -> None:
    item = page.locator(f"li[data-id='{conversation}']")
    item.hover()
    item.locator(".item-more").click()
    item.locator(f"[data-action={action}]").click()


def is_stored(page: Page, system: System, conversation: str) -> bool:
    return page.request.get(f"{system.url}/api/conversations/{conversation}").ok


def test_deleted_conversation_comes_back_by_undo_and_its_answer_goes_on(page: Page, system: System) -> None:
    hold_timers(page, TOAST_MS)
    message = emulate(tokens=2000, chars=6, rate=50)
    ask(page, message)
    wait_for(lambda: len(answer(page)) > 50, 40, "some text")
    deleted = shown(page)
    item = page.locator(f"li[data-id='{deleted}']")
    choose_action(page, deleted, "delete")
    expect(item).to_have_count(0)
    expect(page.locator(".turn")).to_have_count(0)
    assert shown(page) == ""
    page.locator(".toast-action").click()
    expect(item).to_have_count(1)
    expect_state(page, "running")
    assert shown(page) == deleted
    # Without the undo, the server is asked when the toast has gone, and not before.
    choose_action(page, deleted, "delete")
    expect(page.locator(".toast")).to_have_count(1)
    assert is_stored(page, system, deleted)
    page.evaluate("held.at(-1)()")
    expect(page.locator(".toast")).to_have_count(0)
    wait_for(lambda: not is_stored(page, system, deleted), 40, "the deletion")
    ended = wait_for(lambda: [call["ended"] for call in calls(system, message) if call["ended"]], 40, "the call's end")
    assert ended == ["closed_by_client"]
    expect(item).to_have_count(0)


def test_deletion_is_sent_when_the_page_closes(page: Page, context: BrowserContext, system: System) -> None:
    (kept, deleted) = create(page, system, "kept", "closing")
    other = context.new_page()
    other.goto(system.url)
    choose_action(other, deleted, "delete")
    expect(other.locator(".toast-text")).to_contain_text("closing")
    assert is_stored(page, system, deleted)
    other.close()
    wait_for(lambda: not is_stored(page, system, deleted), 40, "the deletion")
    page.reload()
    expect(page.locator("#conversations li")).to_have_count(1)
    assert is_stored(page, system, kept)


def test_refused_deletion_shows_the_conversation_again(lenient_page: Page, system: System) -> None:
    page = lenient_page
    (conversation,) = create(page, system, "refused")
    page.reload()
    page.route(f"**/{conversation}", lambda route: route.fulfill(status=503, json={"detail": "Storage is away."}))
    choose_action(page, conversation, "delete")
    page.locator(".toast-close").click()
    expect(page.locator("#notice")).to_have_text("Storage is away.")
    expect(page.locator(f"li[data-id='{conversation}']")).to_have_count(1)


def test_rename_in_place_is_shown_at_once_and_kept_and_escape_changes_nothing(page: Page, system: System) -> None:
    (conversation,) = create(page, system, "before")
    page.goto(f"{system.url}/#{conversation}")
    page.reload()
    link, box = page.locator("#conversations a"), page.locator(".rename-box")
    expect(page).to_have_title("before \u2013 Millrace")
    choose_action(page, conversation, "rename")
    box.fill("dropped")
    box.press("Escape")
    expect(box).to_have_count(0)
    expect(link).to_have_text("before")
    expect(link).to_be_focused()
    link.press("F2")
    box.fill("   ")
    box.press("Enter")
    expect(link).to_have_text("before")
    link.press("F2")
    box.fill("after <b>&")
    box.press("Enter")
    expect(link).to_have_text("after <b>&")
    expect(page.locator("#title")).to_have_text("after <b>&")
    expect(page).to_have_title("after <b>& \u2013 Millrace")
    page.reload()
    expect(link).to_have_text("after <b>&")


def test_menu_is_used_with_the_keyboard_and_closes_without_a_choice(page: Page, system: System) -> None:
    (conversation,) = create(page, system, "menu")
    page.reload()
    button = page.locator(f"li[data-id='{conversation}'] .item-more")
    menu, focused = page.get_by_role("menu"), page.locator("[role=menuitem]:focus")
    button.focus()
    page.keyboard.press("Enter")
    for key, name in (
        ("ArrowDown", "Export as Markdown"),
        ("End", "Delete"),
        ("ArrowDown", "Rename"),
        ("ArrowUp", "Delete"),
        ("Home", "Rename"),
    ):
        page.keyboard.press(key)
        expect(focused).to_have_text(name)
    page.keyboard.press("Escape")
    expect(menu).to_have_count(0)
    expect(button).to_be_focused()
    button.click()
    expect(menu).to_be_visible()
    button.click()
    expect(menu).to_have_count(0)
    button.click()
    page.locator("#question").click()
    expect(menu).to_have_count(0)
    expect(button).to_have_attribute("aria-expanded", "false")


def test_conversations_are_grouped_by_the_day_of_their_last_change(page: Page) -> None:
    days = {0: "Today", 1: "Yesterday", 5: "Previous 7 days", 20: "Previous 30 days"}
    listed = page.evaluate(
        """days => days.map((day) => {
            const updated_at = new Date(Date.now() - day * 86400000).toISOString();
            const id = String(day).padStart(32, "0");
            return { id, title: `of ${day}`, created_at: updated_at, updated_at, active_generation: null };
        })""",
        [*days, 400],
    )
    page.route("**/api/conversations?*", lambda route: route.fulfill(json={"conversations": listed, "next": None}))
    page.reload()
    names = page.locator(".day-name")
    expect(names).to_have_count(5)
    assert names.all_text_contents()[:4] == list(days.values())
    assert re.fullmatch(r"\w+ \d{4}", names.last.text_content() or "")
    expect(page.locator(".day").nth(2).locator("a")).to_have_text("of 5")


@pytest.mark.parametrize("has_observer", [True, False])
def test_further_pages_come_by_scrolling_or_by_the_button(
    context: BrowserContext, system: System, has_observer: bool
) -> None:
    def list_seventy(route: Route) -> None:
        query = parse_qs(urlsplit(route.request.url).query)
        first, limit = int(query.get("cursor", ["0"])[0]), int(query["limit"][0])
        listed = [{"id": f"{number:032}", "title": f"{number}", **MARCH} for number in range(70)][first : first + limit]
        route.fulfill(json={"conversations": listed, "next": str(first + limit) if first + limit < 70 else None})

    with visiting(context, "about:blank") as page:
        if not has_observer:
            page.add_init_script("delete window.IntersectionObserver")
        page.route("**/api/conversations?*", list_seventy)
        page.goto(system.url)
        items = page.locator("#conversations li")
        expect(items).to_have_count(30)
        for count in (60, 70):
            if has_observer:
                page.locator(".list-scroller").evaluate("each => each.scrollTo(0, each.scrollHeight)")
            else:
                page.locator("#more").click()
            expect(items).to_have_count(count)
        expect(page.locator("#more")).to_be_hidden()
        assert len(set(items.evaluate_all("all => all.map((each) => each.dataset.id)"))) == 70


def test_answer_that_ended_meanwhile_is_marked_as_soon_as_the_list_reaches_it(
    lenient_page: Page, system: System
) -> None:
    page = lenient_page
    left, *_ = create(page, system, *(f"row {number}" for number in range(45)))
    # As a page leaves it that was closed while the answer ran.
    page.evaluate("id => localStorage.setItem(`millrace running ${location.pathname}`, JSON.stringify([id]))", left)
    for _ in range(2):  # a visit that does not reach it changes nothing
        page.reload()
        expect(page.locator("#conversations li")).to_have_count(30)
    page.locator(".list-scroller").evaluate("each => each.scrollTo(0, each.scrollHeight)")
    expect(page.locator(f"li[data-id='{left}'][data-mark=unread]")).to_have_count(1)
    expect(page.locator("[data-mark]")).to_have_count(1)


def test_change_reads_one_page_and_leaves_the_rows_and_the_focus_in_place(lenient_page: Page, system: System) -> None:
    page = lenient_page  # the browser's console reports that a deleted conversation is not found
    created = create(page, system, *(f"row {number}" for number in range(45)))
    page.reload()
    page.locator(".list-scroller").evaluate("each => each.scrollTo(0, each.scrollHeight)")
    items = page.locator("#conversations li")
    expect(items).to_have_count(45)
    page.evaluate("() => { window.rows = [...document.querySelectorAll('#conversations li')] }")
    focused = page.locator(f"li[data-id='{created[0]}'] a")
    focused.focus()
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.request.patch(f"{system.url}/api/conversations/{created[1]}", data={"title": "renamed below"})
    expect(page.locator(f"li[data-id='{created[1]}'] a")).to_have_text("renamed below")
    expect(items).to_have_count(45)
    expect(focused).to_be_focused()
    assert page.evaluate("() => window.rows.every((row) => row.isConnected)")
    assert sum("conversations?" in url for url in asked) <= 2, asked
    # A conversation that another device deletes on a page further down disappears as well.
    page.request.delete(f"{system.url}/api/conversations/{created[2]}")
    expect(items).to_have_count(44)


def test_list_that_cannot_be_read_offers_another_try(lenient_page: Page, system: System) -> None:
    page = lenient_page
    create(page, system, "readable")
    failing: Callable[[Route], Any] = lambda route: route.fulfill(status=503, json={"detail": "Storage is away."})  # noqa: E731
    page.route("**/api/conversations?*", failing)
    page.reload()
    expect(page.locator(".list-error p")).to_have_text("Storage is away.")
    page.unroute("**/api/conversations?*")
    page.locator(".list-retry").click()
    expect(page.locator("#conversations a")).to_have_text("readable")
    expect(page.locator(".list-error")).to_be_hidden()


def test_list_shows_rows_of_a_skeleton_until_it_is_read_and_a_hint_when_it_is_empty(page: Page) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:
        held.append(route)

    page.route("**/api/conversations?*", hold)
    page.reload()
    expect(page.locator(".skeleton").first).to_be_visible()
    expect(page.locator(".list-scroller")).to_have_attribute("aria-busy", "true")
    wait_for(lambda: page.evaluate("1") and held, 40, "the request")
    held[0].continue_()
    expect(page.locator(".list-empty")).to_have_text("No conversations yet. Ask a question to begin one.")
    expect(page.locator(".skeletons")).to_be_hidden()
