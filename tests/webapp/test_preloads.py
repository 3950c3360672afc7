import re
from collections.abc import Callable
from pathlib import Path

from millrace.webapp import preloads as room
from millrace.webapp.assets.installation import location
from millrace.webapp.preloads import LIBRARIES, preloads
from tests.webapp.harness import WebHarness

Build = Callable[..., WebHarness]
STATIC = Path(room.__file__).parent / "static"
OPTIONAL = {"shell/theme.js"}
"""Scripts that no module of the page imports: this one runs before all modules."""


def named(text: str) -> list[str]:
    return re.findall(r'<link rel="modulepreload" href="static/[0-9a-f]{16}/([^"]+)">', text)


def test_page_preloads_every_script_of_its_rooms_and_nothing_else() -> None:
    found = set(preloads("page.js"))
    for name in ("chat", "shell"):
        scripts = {path.relative_to(STATIC).as_posix() for path in (STATIC / name).rglob("*.js")}
        assert scripts - found <= OPTIONAL
    assert "client.js" in found
    assert "page.js" not in found, "the document's script tag names it"
    for path in found:
        assert (STATIC / path).is_file(), path


def test_document_names_the_modules_with_relative_addresses_and_the_libraries_once_they_are_installed(
    build: Build, tmp_path: Path
) -> None:
    user = build(assets_dir=str(tmp_path)).user
    text = user.get("/").text
    assert named(text) == list(preloads("page.js"))
    assert text.index("modulepreload") < text.index('/page.js"></script>')
    for path in LIBRARIES:
        file = location(tmp_path) / path.removeprefix("assets/")
        file.parent.mkdir(parents=True)
        file.write_text("")
    assert named(user.get("/").text) == [*preloads("page.js"), *LIBRARIES]
