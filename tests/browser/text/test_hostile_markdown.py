"""Hostile markdown: nothing runs, nothing is fetched, and the page makes no node or attribute but those of its list.

Every text grows piece by piece, so that its half-written states are looked at as well, on the page of the running
system with its content security policy.
"""

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import Dialog, Page, Request, expect

from tests.browser.test_page import ask, expect_state
from tests.client import emulate
from tests.system import System

HERE = Path(__file__).parent
AUDIT = (HERE / "audit.js").read_text("utf-8")
RECORD_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
"""

SCRIPT_ADDRESSES = (
    *("javascript:pwned=1", "JavaScript:pwned=1", "jAvAsCrIpT:pwned=1", "javascript://x.test/%0apwned=1"),
    *("java\tscript:pwned=1", "java\nscript:pwned=1", "java\rscript:pwned=1", "java\0script:pwned=1"),
    *("\x01javascript:pwned=1", "\x0cjavascript:pwned=1", "\u00a0javascript:pwned=1", "\u2028javascript:pwned=1"),
    *("\ufeffjavascript:pwned=1", "\u200bjavascript:pwned=1", "\u00adjavascript:pwned=1", "javascript\uff1apwned=1"),
    *("javascript&colon;pwned=1", "&#106avascript:pwned=1", "&#x6a;avascript:pwned=1", "&#0000106;avascript:pwned=1"),
    *("java&Tab;script:pwned=1", "java&NewLine;script:pwned=1", "&#1;javascript:pwned=1", "javascript&#58;pwned=1"),
    *("&amp;#106;avascript:pwned=1", "javascript%3apwned=1", "%6aavascript:pwned=1", "%09javascript:pwned=1"),
    *("java\\script:pwned=1", "javascript\\:pwned=1", "javascript :pwned=1", "view-source:javascript:pwned=1"),
    *("data:text/html,<script>pwned=1</script>", "data:text/html;base64,PHNjcmlwdD5wd25lZD0xPC9zY3JpcHQ+"),
    *("DATA:image/svg+xml,<svg/onload=pwned=1>", "data:,x", "vbscript:pwned=1", "livescript:pwned=1"),
    *("blob:https://evil.test/1", "filesystem:https://evil.test/1", "about:blank", "chrome://settings"),
    *("file:///etc/passwd", "ftp://evil.test/", "ws://evil.test/", "intent://x#Intent;end", "ms-word:ofe|u|//evil"),
    *("jar:https://evil.test!/", "feed:javascript:pwned=1", "urn:x", "tel:+1", "sms:+1", "steam://run/1"),
    *("//evil.test/", "/static/page.js", "?x", "#x", ".", "http:", "https://", "http://[", "mailto\u200b:x"),
)
FORMS = ("[x]({0})", "[x](<{0}> 't')", "![x]({0})", "<{0}>", "[x][r]\n\n[r]: {0}", "[x][r]\n\n[r]: <{0}> 't'")

DEPTH = 1000
REPEATED = (
    *("> ", "- ", "[", "![", "**a ", "_", "`", "~~", "<", "<div>", "&", "\\(", "[x](", "<a href=", "\\", "# ", "1. "),
    *("a", "\u0301", "\u202e", "<!--", "\n> ", "\n- ", "#\n", "|", "a|", "$", "*", "[x][", "https://evil.test/"),
    "![x](https://evil.test/ ",
)
NESTED = (
    *(each * DEPTH + "x" for each in REPEATED),
    *("[" * DEPTH + "x" + "]" * DEPTH, "*" * DEPTH + "x" + "*" * DEPTH, "(" * DEPTH + ")" * DEPTH),
    *("|a" * 300 + "|\n" + "|-" * 300 + "|\n" + "|x" * 300, "\n".join(" " * depth + "- x" for depth in range(200))),
    *("$" + "{" * 500 + "x" + "}" * 500 + "$", "$$" + "\\frac{1}{" * 300 + "x" + "}" * 300 + "$$"),
    *("$$" + "\\sqrt{" * 300 + "x" + "}" * 300 + "$$", "$x$" * 100, "```\n" * 100),
    "[x]: https://evil.test/" + "a" * DEPTH + "\n\n[x]",
)


def listed() -> list[str]:
    """Return the texts of the file beside this one."""
    lines = (HERE / "hostile_markdown.txt").read_text("utf-8").split("\n")
    texts: list[list[str]] = []
    for line in lines[1:]:
        if line.startswith("%%%%"):
            texts.append([])
        else:
            texts[-1].append(line)
    return ["\n".join(text) for text in texts]


@contextmanager
def nothing_happens(page: Page, system: System) -> Generator[None]:
    """Assert that no text runs, asks another host for anything, opens a dialog, leaves the page or tries to."""
    asked: list[str] = []
    opened: list[str] = []

    def on_request(request: Request) -> None:
        asked.append(request.url)

    def on_dialog(dialog: Dialog) -> None:
        opened.append(dialog.message)
        dialog.dismiss()

    page.on("request", on_request)
    page.on("dialog", on_dialog)
    page.evaluate(RECORD_VIOLATIONS)
    address = page.url
    yield
    own = (f"{system.url}/api/", f"{system.url}/static/")
    assert [url for url in asked if not url.startswith(own) and url != f"{system.url}/"] == []
    assert not [url for url in asked if "evil" in url]
    assert page.evaluate("[window.violations, window.pwned === undefined]") == [[], True]
    assert (opened, page.url.split("#")[0]) == ([], address.split("#")[0])
    page.remove_listener("request", on_request)
    page.remove_listener("dialog", on_dialog)


def stream(page: Page, texts: list[str], size: int) -> dict[str, Any]:
    """Show texts that grow by `size` characters, at once for 0; assert that only allowed nodes were made."""
    result: dict[str, Any] = page.evaluate(f"([texts, size]) => ({AUDIT}).stream(texts, size)", [texts, size])
    assert result["found"] == []
    return result


def test_hostile_texts_run_nothing_fetch_nothing_and_make_only_listed_nodes(page: Page, system: System) -> None:
    addresses = [form.format(address) for address in SCRIPT_ADDRESSES for form in FORMS]
    texts = [*listed(), *addresses, *NESTED]
    assert len(set(texts)) > 500
    with nothing_happens(page, system):
        whole = stream(page, texts, 0)
        grown = stream(page, texts, 1)
        stream(page, [*listed(), *addresses], 7)
    for text, at_once, in_pieces in zip(texts, whole["shown"], grown["shown"], strict=True):
        assert in_pieces == at_once, text
    least = {"a": 60, "pre": 20, ".katex": 15, "table": 1, "input": 2, "strong": 5}
    assert all(whole["kinds"][kind] >= count for kind, count in least.items()), "markdown is rendered"


PLANTED = (
    *("<script>pwned=1</script>", "<img src=https://evil.test/a.png onerror=pwned=1>", "[x](javascript:pwned=1)"),
    *(
        "![x](https://evil.test/a.png)",
        "<svg onload=pwned=1>",
        '" onmouseover="pwned=1',
        "&lt;img src=x onerror=pwned=1>",
    ),
    *("</title><script>pwned=1</script>", "$\\href{javascript:pwned=1}{x}$", "\u202egpj.exe"),
)


def test_hostile_words_stay_words_wherever_the_page_shows_them(page: Page, system: System) -> None:
    """In question, answer, title, list, suggestions and sources, live and after a reload."""
    tools = {
        "name_conversation": {"tool": {"input": {"title": PLANTED[1]}}},
        "suggest_questions": {"tool": {"input": {"suggestions": list(PLANTED[:3])}}},
    }
    pages = [{"title": PLANTED[1], "url": "javascript:pwned=1"}, {"title": PLANTED[0], "url": 'https://evil.test/?"x'}]
    with nothing_happens(page, system):
        ask(page, emulate(text="\n\n".join(PLANTED), search=pages, reasoning=PLANTED[1], forced=tools))
        expect_state(page, "completed")
        for _ in range(2):
            expect(page.locator("#title")).to_have_text(PLANTED[1])
            expect(page.locator("#conversations a").first).to_have_text(PLANTED[1])
            expect(page.locator(".suggestions button")).to_have_text(list(PLANTED[:3]))
            expect(page.locator(".question")).to_contain_text("onerror=pwned=1")
            expect(page.locator(".answer")).to_contain_text(PLANTED[1])
            assert page.evaluate(f"({AUDIT}).audit(document.querySelector('.answer'))") == []
            assert page.evaluate(f"({AUDIT}).unsafe(document)") == []
            page.reload()
            page.evaluate(RECORD_VIOLATIONS)


def test_audit_reports_each_way_to_run_or_to_fetch(lenient_page: Page) -> None:
    script = """() => {
      return [
        ["img", { src: "x" }], ["script", {}], ["a", { href: "https://a.test/" }], ["a", { href: "javascript:x" }],
        ["p", { style: "color:red" }], ["p", { id: "x" }], ["p", { name: "x" }], ["p", { srcset: "x" }], ["form", {}],
        ["input", { type: "checkbox" }], ["p", { class: 'a"b' }], ["li", { "data-task": "x" }], ["iframe", {}],
      ].map(([tag, attributes]) => {
        const element = document.createElement(tag);
        for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
        return AUDIT.audit(element).length;
      });
    }"""
    reported = lenient_page.evaluate(script.replace("AUDIT.", f"({AUDIT})."))
    assert all(reported), reported


def test_page_without_its_libraries_shows_the_text_as_it_is(lenient_page: Page) -> None:
    warnings: list[str] = []
    lenient_page.on("console", lambda message: warnings.append(message.text) if message.type == "warning" else None)
    lenient_page.route("**/assets/**", lambda route: route.fulfill(status=404))
    lenient_page.reload()
    text = f"**bold** {PLANTED[1]}\n\n```js\n1\n```\n\n$x$ {PLANTED[2]}"
    for _ in range(2):
        ask(lenient_page, emulate(text=text, rate=0))
        expect_state(lenient_page, "completed")
        expect(lenient_page.locator(".answer").last).to_have_text(text, use_inner_text=False)
    assert lenient_page.locator(".answer :not(p, div)").count() == 0
    assert len(warnings) == 1, warnings
