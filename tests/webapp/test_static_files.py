import gzip
import os
from pathlib import Path

from millrace.webapp.static_files import STATIC, TYPES, StaticFiles, joined, page_files, serve


def test_version_changes_with_every_content_and_a_file_is_read_again(tmp_path: Path) -> None:
    now = 0.0
    files = StaticFiles(tmp_path, lambda: now)
    (tmp_path / "parts").mkdir()
    script, other = tmp_path / "page.js", tmp_path / "parts/other.css"
    script.write_text("first();")
    seen = {files.version()}
    for change in ("second", "longer than before", "longer than befort"):
        other.write_text(change)
        os.utime(other, ns=(1, len(seen)))  # as a clock that is finer than the file system's would have it
        assert files.version() in seen, "it looks once a second"
        now += 1
        seen.add(files.version())
        found = files.get("parts/other.css")
        assert found is not None
        assert found.body == change.encode()
    other.rename(tmp_path / "parts/renamed.css")
    now += 1
    seen.add(files.version())
    assert len(seen) == 5
    assert StaticFiles(tmp_path).version() == files.version()
    assert files.get("parts/other.css") is None


def test_only_files_of_the_directory_with_a_known_type_are_found(tmp_path: Path) -> None:
    inside = tmp_path / "inside"
    inside.mkdir()
    for path in (tmp_path / "outside.js", inside / "secret.key", inside / "page.js"):
        path.write_text("x")
    files = StaticFiles(inside)
    names = ("../outside.js", "secret.key", "/page.js", "./page.js", "", ".", "page.js/", "inside/page.js", "page.js\0")
    assert [name for name in names if files.get(name)] == []
    assert files.get("page.js") is not None


def test_body_is_compressed_where_that_is_smaller() -> None:
    long = serve(b"again and again " * 100)
    assert long.compressed is not None
    assert gzip.decompress(long.compressed) == long.body
    for body in (b"short", os.urandom(5000)):
        assert serve(body).compressed is None
    assert len({serve(body).etag for body in (b"a", b"b", b"a")}) == 2


def test_sheet_of_the_page_holds_all_that_it_imports_in_that_order() -> None:
    text = joined(STATIC / "styles/page.css")
    assert "@import" not in text
    own = {path.name for path in (STATIC / "styles").glob("*.css")} - {"page.css", "widget.css"}
    parts = [(STATIC / "styles" / name).read_text("utf-8") for name in own]
    assert all(part in text for part in parts)
    assert text.index("@layer tokens") < text.index("@layer shell {")


def test_every_file_of_the_page_is_served() -> None:
    for path in STATIC.rglob("*.*"):
        assert path.suffix in TYPES, path
        assert page_files().get(path.relative_to(STATIC).as_posix()) is not None
