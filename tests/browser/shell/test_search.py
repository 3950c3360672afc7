"""The search of the list, its excerpts, and the export of a conversation."""

import json
from pathlib import Path
from typing import Any

from playwright.sync_api import Page, Route, expect

from tests.browser.chat.test_control import ESCAPE_OF_AN_INPUT_METHOD
from tests.browser.shell.test_list import MARCH, choose_action, create
from tests.browser.test_conversations import shown
from tests.browser.test_page import ask, expect_state
from tests.client import emulate, wait_for
from tests.system import System


def found(number: int, *excerpt: tuple[str, bool]) -> dict[str, Any]:
    pieces = [{"text": text, "is_hit": is_hit} for text, is_hit in excerpt]
    match = {"message_id": None, "role": None, "excerpt": pieces}
    return {"id": f"{number:032}", "title": f"Mill {number}", **MARCH, "match": match}


def test_results_come_page_by_page_with_marked_excerpts_that_are_only_text(page: Page, system: System) -> None:
    create(page, system, "kept")
    page.reload()
    pages = [
        {"conversations": [found(1, ("a ", False), ("weir", True), (" <b>&", False))], "next": "2"},
        {"conversations": [found(2, ("weirs", True))], "next": None},
    ]
    asked: list[str] = []

    def serve(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(json=pages["cursor=2" in route.request.url])

    page.route("**/api/conversations?*q=*", serve)
    box, items = page.locator(".search-box"), page.locator("#conversations li")
    expect(items).to_have_count(1)
    box.press_sequentially("weir & ")
    expect(items).to_have_count(2)
    assert all("q=weir%20%26" in url for url in asked)
    expect(page.locator(".excerpt").first).to_have_text("a weir <b>&")
    expect(page.locator(".excerpt mark")).to_have_text(["weir", "weirs"])
    assert page.locator(".excerpt b").count() == 0
    box.evaluate(ESCAPE_OF_AN_INPUT_METHOD)
    expect(box).to_have_value("weir & ")
    page.keyboard.press("Escape")
    expect(page.locator("#conversations a")).to_have_text(["kept"])
    expect(box).to_have_value("")
    expect(page.locator(".excerpt:visible")).to_have_count(0)


def test_answer_of_an_older_query_is_ignored_and_nothing_found_says_so(page: Page) -> None:
    held: list[Route] = []

    def serve(route: Route) -> None:
        if "q=slow" in route.request.url:
            held.append(route)
        else:
            route.fulfill(json={"conversations": [], "next": None})

    page.route("**/api/conversations?*q=*", serve)
    box = page.locator(".search-box")
    box.fill("slow")
    wait_for(lambda: page.evaluate("1") and held, 40, "the first query")
    box.fill("fast <i>")
    expect(page.locator(".list-empty")).to_have_text("Nothing found for \u201cfast <i>\u201d.")
    held[0].fulfill(json={"conversations": [found(1, ("slow", True))], "next": None})
    expect(page.locator(".list-empty")).to_be_visible()
    expect(page.locator("#conversations li")).to_have_count(0)


def test_export_downloads_the_conversation_in_both_formats(page: Page, tmp_path: Path) -> None:
    ask(page, emulate(text="Round.", rate=0))
    expect_state(page, "completed")
    conversation = shown(page)
    for action, check in (
        ("export-markdown", lambda text: "Round." in text),
        ("export-json", lambda text: json.loads(text)["messages"][-1]["content"] == "Round."),
    ):
        with page.expect_download() as download:
            choose_action(page, conversation, action)
        path = tmp_path / action
        download.value.save_as(path)
        assert check(path.read_text("utf-8")), action
        assert download.value.suggested_filename.endswith((".md", ".json"))
        expect(page.get_by_role("menu")).to_have_count(0)
    assert shown(page) == conversation


def test_conversation_without_a_title_is_called_by_its_first_question(page: Page) -> None:
    message = emulate(tokens=160, rate=20)  # its title comes at its end
    ask(page, message)
    expect(page.locator("#conversations a").first).to_have_text(message)
    expect(page.locator("#conversations a")).to_have_text("a scripted answer")


def test_word_of_an_answer_finds_its_conversation(page: Page) -> None:
    ask(page, emulate(text="The penstock leads to the turbine.", rate=0))
    expect_state(page, "completed")
    conversation, box = shown(page), page.locator(".search-box")
    page.locator("#new").click()

    def is_found() -> bool:  # an answer is indexed some seconds after it was stored
        with page.expect_response("**/api/conversations?*q=*") as response:
            box.fill("")
            box.fill("penst")
        return bool(response.value.json()["conversations"])

    wait_for(is_found, 30, "the hit")
    expect(page.locator(".excerpt mark").first).to_have_text("penstock")
    page.locator(".results a").click()
    expect(page.locator(".answer")).to_have_text("The penstock leads to the turbine.")
    assert shown(page) == conversation
