"""Markdown as the page shows it: CommonMark, GFM, math, links, images, and languages with other rules."""

import json
import re
from pathlib import Path
from typing import Any

from playwright.sync_api import Page

from tests.system import System

DOCUMENTATION = Path(__file__).parents[3] / "webapp/docs/markdown.md"
SAMPLES = json.loads(Path(__file__).with_name("samples.json").read_text("utf-8"))["whole"]


def show(page: Page, text: str, **options: Any) -> str:
    shown: str = page.evaluate("([text, options]) => viewing.show(text, options)", [text, options])
    return shown


def test_samples_of_markdown_are_shown_as_intended(view: Page) -> None:
    wrong = {text: shown for text, expected in SAMPLES if (shown := show(view, text)) != expected}
    assert wrong == {}


def test_links_open_elsewhere_and_tell_nothing(view: Page) -> None:
    attributes = view.evaluate(
        """() => {
          const { container, view } = viewing.make();
          view.set("[a](https://b.c/) ![d](https://e.f/g.png)");
          view.finish();
          return [...container.querySelectorAll("a")].map(({ rel, target, className }) => [rel, target, className]);
        }"""
    )
    rel = "noopener noreferrer nofollow"
    assert attributes == [[rel, "_blank", ""], [rel, "_blank", "image-link"]]


def test_images_of_allowed_origins_are_loaded(view: Page, system: System) -> None:
    text = f"![a]({system.url}/static/icon.svg) ![b](https://c.d/e.png)"
    assert show(view, text, allowImages=[system.url]) == (
        f'<p><img src="{system.url}/static/icon.svg" alt="a"> <a href="https://c.d/e.png">b</a></p>'
    )


def test_each_block_has_the_direction_of_its_text(view: Page) -> None:
    directions = view.evaluate(
        """text => {
          const { container, view } = viewing.make();
          view.set(text);
          view.finish();
          const direction = (selector) => getComputedStyle(container.querySelector(selector)).direction;
          return ["p", "ul", "h4", "blockquote", "table", "pre", ":scope > p:last-child"].map(direction);
        }""",
        "\u05e9\u05dc\u05d5\u05dd **RTL**\n\n- \u05d0\n- b\n\n## \u05d2\n\n> \u05d3\n\n| \u05d4 |\n|---|\n\n"
        "```\n\u05d5\n```\n\nLTR",
    )
    assert directions == ["rtl", "rtl", "rtl", "rtl", "rtl", "ltr", "ltr"]


def test_text_that_nests_too_deeply_is_shown_all_the_same(view: Page) -> None:
    for mark in (">", "- ", "**a ", "[", "*a _b ", "1. ", "`", "![", "\\(", "$x "):
        text = mark * 2000 + "end"
        assert "end" in show(view, text), mark


def test_documented_program_shows_what_its_comments_say(view: Page) -> None:
    (program,) = re.findall(r"```javascript\n(.*?)```", DOCUMENTATION.read_text("utf-8"), flags=re.DOTALL)
    statement, *rest = program.splitlines()
    assert statement == 'import { MarkdownView } from "./static/text/markdown.js";'
    begin = 'const { MarkdownView } = await import(new URL("static/text/markdown.js", location.href).href);'
    show_half = 'view.set("It **arr");'
    look = "await new Promise((resolve) => requestAnimationFrame(resolve)); const half = element.innerText;"
    lines = "\n".join(rest).replace(show_half, f"{show_half} {look}")
    made = (
        "const element = Object.assign(document.createElement('div'), { id: 'answer' }); document.body.append(element);"
    )
    shown = view.evaluate(f"async () => {{ {made} {begin} {lines}\nreturn [half, element.innerText]; }}")
    assert shown == ["It arr", "It arrives."]
