"""Blocks of code: colours that leave the text alone, the language's name, and the buttons."""

from pathlib import Path
from typing import Any

from playwright.sync_api import BrowserContext, Page, expect

from tests.client import wait_for

SOURCES = {
    "python": "def f(x: int) -> str:\n    return f'hi {x}'  # a comment\n",
    "js": "const a = `b ${c}`; // <script>alert(1)</script>\n",
    "html": "<p class='a'>&amp; <script>let b = 1;</script></p>\n",
    "c++": "#include <vector>\nint main() { return 0; }\n",
    "diff": "-old\n+new\n",
    "sh": 'echo "$HOME" | grep -c x\n',
}


def make(page: Page, text: str) -> None:
    """Show a finished text in `.made`."""
    page.evaluate(
        """text => {
          const { container, view } = viewing.make();
          container.classList.add("made");
          view.set(text);
          view.finish();
        }""",
        text,
    )


def test_complete_code_is_coloured_without_a_change_of_its_text(view: Page) -> None:
    make(view, "\n".join(f"```{language}\n{source}```\n" for language, source in SOURCES.items()))
    for language, source in SOURCES.items():
        code = view.locator(f'.made [data-language="{language}"] code')
        expect(code.locator("[class^=hljs-]").first).to_be_attached()
        assert code.evaluate("each => each.textContent") + "\n" == source
    assert view.locator(".made script").count() == 0


def test_code_without_a_known_language_and_huge_code_stay_plain(view: Page) -> None:
    huge = "a = 1\n" * 5000
    make(view, f"```nosuchlanguage\na = 1\n```\n\n```\nb = 1\n```\n\n```python\n{huge}```\n\n```python\nc = 1\n```\n")
    expect(view.locator(".made code").last.locator("[class^=hljs-]").first).to_be_attached()
    for number in range(3):
        assert view.locator(".made code").nth(number).locator("[class^=hljs-]").count() == 0


def test_each_name_of_a_language_has_its_file(view: Page) -> None:
    missing = view.evaluate(
        """async () => {
          const address = (path) => new URL(`static/${path}`, location.href).href;
          const { ALIASES, NAMES, knownLanguage } = await import(address("text/languages.js"));
          const folder = address("assets/@highlightjs/cdn-assets/es/languages/");
          const wrong = [];
          for (const name of NAMES) if (!(await fetch(`${folder}${name}.min.js`)).ok) wrong.push(name);
          for (const name of ALIASES.values()) if (!NAMES.has(name)) wrong.push(name);
          return [...wrong, knownLanguage("../x") ?? []].flat();
        }"""
    )
    assert missing == []


def test_code_keeps_what_is_selected_when_it_gets_its_colours(view: Page) -> None:
    selected = view.evaluate(
        """() => {
          const made = viewing.grow("```js\\nlet a = 1;\\nlet b = 2;", 100, () => {}, { isFinished: false });
          made.container.classList.add("made");
          const text = made.container.querySelector(".code-part").firstChild;
          getSelection().setBaseAndExtent(text, 4, text, 15);
          const before = getSelection().toString();
          made.view.finish();
          return before;
        }"""
    )
    assert selected == "a = 1;\nlet "
    expect(view.locator(".made code .hljs-keyword").first).to_be_attached()
    assert view.evaluate("getSelection().toString()") == selected


def test_button_copies_the_source(view: Page, context: BrowserContext) -> None:
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    source = "".join(f"line_{number} = {number}\n" for number in range(900))
    make(view, f"```python\n{source}```")
    button = view.locator(".made .code-copy")
    expect(button).to_have_attribute("aria-label", "Copy code")
    button.click()
    expect(button).to_have_attribute("data-state", "copied")
    assert view.evaluate("navigator.clipboard.readText()") == source.rstrip("\n")
    expect(button).not_to_have_attribute("data-state", "copied")
    view.evaluate("getSelection().selectAllChildren(document.querySelector('.made code'))")
    assert view.evaluate("getSelection().toString()").rstrip("\n") == source.rstrip("\n")


def test_button_wraps_the_lines_of_all_blocks(view: Page) -> None:
    make(view, "```\na\n```\n\n```\nb\n```\n")
    blocks = view.locator(".made .code")
    view.locator(".made .code-wrap").first.click()
    for number in range(2):
        expect(blocks.nth(number)).to_have_attribute("data-wrap", "on")
    expect(view.locator(".made .code-wrap").last).to_have_attribute("aria-pressed", "true")
    view.locator(".made .code-wrap").last.click()
    expect(blocks.first).not_to_have_attribute("data-wrap", "on")


def test_formulas_are_set_by_katex(view: Page) -> None:
    make(view, "$\\frac{a}{b}$ and\n$$\n\\sum_i x_i\n$$\n\n$\\nosuchcommand$ $\\href{javascript:alert(1)}{x}$ end")
    expect(view.locator(".made .katex")).to_have_count(3)
    assert view.locator(".made a").count() == 0
    expect(view.locator(".made")).to_contain_text("$\\nosuchcommand$")
    expect(view.locator(".made .math[data-display] .katex-display")).to_have_count(1)


def loaded(page: Page) -> list[Any]:
    names: list[Any] = page.evaluate(
        "performance.getEntriesByType('resource').map(({ name }) => name).filter((name) => name.includes('/assets/'))"
    )
    return names


def test_highlighter_and_formulas_are_loaded_only_when_they_are_needed(view: Page) -> None:
    make(view, "**text**")
    names = {"index.js", "marked.esm.js"}
    wait_for(lambda: names <= {Path(name).name for name in loaded(view)}, 30, "the entries of the first packages")
    assert names == {Path(name).name for name in loaded(view)}
    make(view, "```python\na\n```\n$x$")
    wait_for(lambda: {"python.min.js", "katex.mjs"} <= {Path(name).name for name in loaded(view)}, 30, "the packages")
