"""The page's files at versioned and at plain addresses, with and without bundles."""

import gzip
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from millrace.webapp.assets.bundles import ENTRIES, bundles_location
from millrace.webapp.assets.installation import location
from millrace.webapp.routes.files import IMMUTABLE
from millrace.webapp.static_files import STATIC
from tests.webapp.harness import WebHarness, check_problem

Build = Callable[..., WebHarness]
OTHER_VERSION = "0123456789abcdef"


@pytest.fixture
def assets(tmp_path: Path) -> Path:
    directory = location(tmp_path / "assets")
    (directory / "marked/lib").mkdir(parents=True)
    (directory / "marked/lib/marked.esm.js").write_text("export {}")
    return directory.parent


def version_of(site: WebHarness) -> str:
    found = re.search(r"static/([0-9a-f]{16})/", site.user.get("/").text)
    assert found is not None
    return found[1]


def caching(site: WebHarness, path: str) -> str:
    answer = site.user.get(f"/static/{path}", buffered=True)
    assert answer.status_code == 200, path
    return answer.headers["Cache-Control"]


def test_files_are_kept_for_ever_at_the_documents_addresses_and_revalidated_at_plain_ones(
    build: Build, assets: Path
) -> None:
    site = build(assets_dir=str(assets))
    version = version_of(site)
    for path in ("page.js", "styles/page.css", "chat/chat.js", "icon.svg", "assets/marked/lib/marked.esm.js"):
        assert caching(site, f"{version}/{path}") == IMMUTABLE
        # A server of another version gives what it has, and no cache keeps it under the wrong name.
        assert caching(site, f"{OTHER_VERSION}/{path}") == "no-store"
        plain = caching(site, path)
        assert plain == ("public, max-age=600" if path.startswith("assets/") else "no-cache")
        etag = site.user.get(f"/static/{path}", buffered=True).headers["ETag"]
        again = site.user.get(f"/static/{path}", headers={"If-None-Match": etag}, buffered=True)
        assert (again.status_code, again.data) == (304, b"")
    for path in (
        "none.js",
        f"{version}/none.js",
        f"{version}/{version}/page.js",
        f"{version}/bundle/page.js",
        "bundle/x",
    ):
        check_problem(site.user.get(f"/static/{path}"), 404, "not_found")


def test_clients_that_accept_gzip_get_it_with_a_tag_of_its_own(site: WebHarness) -> None:
    source = (STATIC / "page.js").read_bytes()
    tags: set[str] = set()
    for accepted, is_compressed in {"gzip, br": True, "br, *": True, "gzip;q=0, br": False, "identity": False}.items():
        answer = site.user.get("/static/page.js", headers={"Accept-Encoding": accepted}, buffered=True)
        assert answer.headers.get("Content-Encoding") == ("gzip" if is_compressed else None), accepted
        assert "Accept-Encoding" in answer.headers["Vary"]
        assert (gzip.decompress(answer.data) if is_compressed else answer.data) == source
        assert answer.mimetype == "text/javascript"
        tags.add(answer.headers["ETag"])
    assert len(tags) == 2


def test_bundles_are_served_where_they_are_of_the_present_scripts(build: Build, assets: Path) -> None:
    site = build(assets_dir=str(assets))
    bundles = bundles_location(assets)
    for directory, is_used in ((bundles.with_name("bundles-of-other-scripts"), False), (bundles, True)):
        directory.mkdir()
        for name in ENTRIES:
            (directory / name).write_text(f"bundle of {name}")
        version = version_of(site)
        folder = "bundle/" if is_used else ""
        assert f'src="static/{version}/{folder}page.js"' in site.user.get("/").text
        widget = site.user.get("/static/widget.js", buffered=True)
        assert widget.text == f'export * from "./{version}/{folder}widget.js";\n'
        assert widget.headers["Cache-Control"] == "no-cache"
        client = site.user.get("/static/client.js", buffered=True).text
        assert (client == "bundle of client.js") is is_used
        if is_used:
            assert caching(site, f"{version}/bundle/page.js") == IMMUTABLE
            assert "/chat/chat.js" not in site.user.get("/").text, "a preload of what the bundle holds"
