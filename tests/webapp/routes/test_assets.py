"""The route of the page's libraries, over installed files of the test."""

import json
import logging
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest

from millrace.webapp.assets.installation import SOURCE, location
from millrace.webapp.routes.assets import TYPES
from tests.webapp.harness import WebHarness, check_problem

Build = Callable[..., WebHarness]


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    directory = location(tmp_path / "assets")
    for name in ("marked/lib/marked.esm.js", "katex/dist/katex.mjs", "katex/dist/katex.min.css"):
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"/* {name} */")
    (directory / "katex/dist/fonts").mkdir()
    (directory / "katex/dist/fonts/a.woff2").write_bytes(b"wOF2")
    (directory / "marked/LICENSE").write_text("MIT")
    (tmp_path / "assets" / "secret.js").write_text("of another release")
    return directory


def test_files_have_the_types_that_browsers_demand_and_are_revalidated(build: Build, installed: Path) -> None:
    site = build(assets_dir=str(installed.parent))
    wanted = {
        "marked/lib/marked.esm.js": "text/javascript",
        "katex/dist/katex.mjs": "text/javascript",
        "katex/dist/katex.min.css": "text/css",
        "katex/dist/fonts/a.woff2": "font/woff2",
        "marked/LICENSE": "text/plain",
    }
    for name, kind in wanted.items():
        answer = site.user.get(f"/static/assets/{name}", buffered=True)
        assert (answer.status_code, answer.mimetype) == (200, kind), name
        assert answer.data == (installed / name).read_bytes()
        assert "max-age=600" in answer.headers["Cache-Control"]
        assert "Set-Cookie" not in answer.headers
        again = site.user.get(
            f"/static/assets/{name}", headers={"If-None-Match": answer.headers["ETag"]}, buffered=True
        )
        assert (again.status_code, again.data) == (304, b"")
    fonts = site.user.get("/").headers["Content-Security-Policy"]
    assert "font-src 'self';" in fonts


def test_nothing_but_installed_files_is_served(build: Build, installed: Path) -> None:
    site = build(assets_dir=str(installed.parent))
    (installed / "marked/lib/page.html").write_text("<script>")
    refused = (
        "secret.js ../secret.js %2e%2e/secret.js marked/../../secret.js ..%2fsecret.js ..%5csecret.js marked/lib "
        "marked marked/lib/page.html marked/lib/none.js //etc/passwd %2fetc/passwd marked/lib/marked.esm.js%00 %00.js "
        ".draft-1/x.js " + "x" * 300 + ".js"
    )
    for path in refused.split():
        answer = site.user.get(f"/static/assets/{path}", buffered=True)
        assert answer.status_code in (308, 400, 404), path
        assert b"of another release" not in answer.data


def test_missing_libraries_are_reported_once_and_found_when_they_come(
    build: Build, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    site = build(assets_dir=str(tmp_path / "later"))
    with caplog.at_level(logging.WARNING):
        for _ in range(3):
            check_problem(site.user.get("/static/assets/marked/lib/marked.esm.js"), 404, "not_found")
    assert [record.getMessage().split()[0] for record in caplog.records] == ["assets_missing"]
    file = location(tmp_path / "later") / "marked/lib/marked.esm.js"
    file.parent.mkdir(parents=True)
    file.write_text("export {}")
    assert site.user.get("/static/assets/marked/lib/marked.esm.js", buffered=True).status_code == 200


def test_every_listed_file_has_a_type() -> None:
    files: dict[str, list[str]] = json.loads((SOURCE / "files.json").read_text("utf-8"))
    assert {PurePosixPath(name).suffix for names in files.values() for name in names} <= set(TYPES)


def test_libraries_are_served_below_the_prefix_of_a_mount_to_allowed_origins(build: Build, installed: Path) -> None:
    site = build(assets_dir=str(installed.parent), allowed_origins=("https://host.example",), trusted_proxies=1)
    for origin in ("https://host.example", "https://other.example"):
        answer = site.user.get(
            "/static/assets/marked/lib/marked.esm.js",
            headers={"Origin": origin, "X-Forwarded-Prefix": "/chat"},
            buffered=True,
        )
        assert answer.status_code == 200
        allowed = answer.headers.get("Access-Control-Allow-Origin")
        assert allowed == (origin if origin == "https://host.example" else None)
        assert "Origin" in answer.headers["Vary"]
