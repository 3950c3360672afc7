import re
from pathlib import Path

from millrace.webapp import preloads as room
from millrace.webapp.preloads import preloads
from tests.webapp.harness import WebHarness

STATIC = Path(room.__file__).parent / "static"
OPTIONAL = {"shell/theme.js", "widget.js"}
"""Scripts that no module of the page imports: one runs before all modules, one belongs to other people's pages."""


def test_page_preloads_every_script_of_its_rooms_and_nothing_else() -> None:
    named = set(preloads("page.js"))
    rooms = {
        path.relative_to(STATIC).as_posix() for room in ("chat", "shell") for path in (STATIC / room).rglob("*.js")
    }
    assert rooms - named <= OPTIONAL
    assert "client.js" in named
    assert "page.js" not in named, "the document's script tag names it"
    for path in named:
        assert (STATIC / path).is_file(), path


def test_document_names_the_modules_with_relative_addresses_before_the_script(site: WebHarness) -> None:
    text = site.user.get("/").text
    named = re.findall(r'<link rel="modulepreload" href="static/([^"]+)">', text)
    assert named == list(preloads("page.js"))
    assert text.index("modulepreload") < text.index('src="static/page.js"')
