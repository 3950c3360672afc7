"""The cost of showing a long answer in Chromium: `python -m tests.browser.text.performance URL` prints a table.

URL is the page of a running system. Each text has 100 KB and comes in 200 pieces a second.
"""

import shutil
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from playwright.sync_api import CDPSession, Page, sync_playwright

FEED = (Path(__file__).parent / "performance.js").read_text("utf-8")
PROSE = "The **wheel** turns `n` times, as [the miller](https://example.org/{0}) said; see *part {0}* and ~~{0}~~.\n\n"
CODE = '```python\ndef turn(n: int = {0}) -> str:\n    """Return the state."""\n    return f"{{n}} turns"\n```\n\n'
TABLE = "| wheel | turns | state |\n|:--|--:|---|\n" + "| w{0} | {0} | *wet* |\n" * 6 + "\n"
LISTING = "## Part {0}\n\n- one `{0}`\n- two\n  - nested **{0}**\n- [x] done\n\n"


def mixed(characters: int) -> str:
    """Return markdown of prose, code, tables and lists."""
    return _filled(PROSE + LISTING + PROSE + CODE + TABLE, characters)


def one_code_block(characters: int) -> str:
    """Return markdown that is one code block."""
    return "```python\n" + _filled("value_{0} = compute({0}, 'a text')  # line {0}\n", characters) + "```\n"


def one_table(characters: int) -> str:
    """Return markdown that is one table."""
    return "| a | b | c |\n|---|--:|---|\n" + _filled("| row {0} | {0} | **bold** and `code` |\n", characters)


def one_paragraph(characters: int) -> str:
    """Return markdown that is one paragraph."""
    return _filled("The wheel turns {0} times, **as** the miller said. ", characters)


TEXTS = {"mixed": mixed, "code": one_code_block, "table": one_table, "paragraph": one_paragraph}


def _filled(unit: str, characters: int) -> str:
    parts: list[str] = []
    length = 0
    while length < characters:
        parts.append(unit.format(len(parts)))
        length += len(parts[-1])
    return "".join(parts)


class Meter:
    """The processor time, memory and nodes of a page, as Chromium counts them."""

    def __init__(self, page: Page) -> None:
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Performance.enable", {"timeDomain": "threadTicks"})
        self.marks: dict[str, float] = {}
        page.expose_function("mark", self.mark)

    def mark(self, name: str) -> None:
        """Remember the seconds of processor time that the page's thread has used up to now."""
        self.marks[name] = self.metrics()["TaskDuration"]

    def metrics(self) -> dict[str, float]:
        """Return all counts."""
        found = self._session.send("Performance.getMetrics")
        return {each["name"]: each["value"] for each in cast("list[dict[str, Any]]", found["metrics"])}

    def heap(self) -> float:
        """Return the bytes of the heap in use, without garbage."""
        self._session.send("HeapProfiler.collectGarbage")
        return self.metrics()["JSHeapUsedSize"]


def feed(page: Page, text: str, *, size: int, every: float) -> dict[str, Any]:
    """Show a text that grows by `size` characters each `every` milliseconds (0: each frame); return the figures."""
    return page.evaluate(f"([text, options]) => ({FEED})(text, options)", [text, {"size": size, "every": every}])


@contextmanager
def chromium_page(url: str) -> Generator[Page]:
    """Open the page in a browser of its own."""
    with sync_playwright() as playwright:
        path = shutil.which("chromium") or shutil.which("chromium-browser")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page()
        page.goto(url)
        yield page
        browser.close()


def main() -> None:
    """Print a line for each text."""
    with chromium_page(sys.argv[1]) as page:
        meter = Meter(page)
        print("text    s     frames  updates  CPU   2nd/1st half  long tasks    wait p50/p99  nodes made/left  heap")
        for name, make in TEXTS.items():
            before = meter.heap()
            got = feed(page, make(100_000), size=100, every=5)
            start, half, end = (meter.marks[each] for each in ("start", "half", "end"))
            print(
                f"{name:<7} {got['seconds']:<5.1f} {got['frames']:<7} {got['updates']:<8} {end - start:<5.2f} "
                f"{(end - half) / (half - start):<13.2f} {got['longTasks']} ({got['longest']:.0f} ms)".ljust(64)
                + f"{got['wait']:.0f}/{got['wait99']:.0f} ms".ljust(14)
                + f"{got['made']}/{got['nodes']}".ljust(17)
                + f"{(meter.heap() - before) / 1e6:+.1f} MB"
            )


if __name__ == "__main__":
    main()
