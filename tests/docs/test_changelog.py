"""The changelog has the form of Keep a Changelog, and the newest release is the version of the package."""

import re
import tomllib

from tests.docs.pages import ROOT, read

CHANGELOG = ROOT / "deploy/CHANGELOG.md"
KINDS = ("Added", "Changed", "Deprecated", "Removed", "Fixed", "Security")


def test_releases_are_dated_and_newest_first() -> None:
    titles = re.findall(r"^## (.+)$", read(CHANGELOG), re.MULTILINE)
    assert titles[0] == "[Unreleased]"
    releases = [re.fullmatch(r"\[(\d+\.\d+\.\d+)\] - (\d{4}-\d{2}-\d{2})", title) for title in titles[1:]]
    assert all(releases)
    dates = [release[2] for release in releases if release]
    assert dates == sorted(dates, reverse=True)


def test_newest_release_is_the_version_of_the_package() -> None:
    (newest, *_) = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", read(CHANGELOG), re.MULTILINE)
    package = read(ROOT / ".package/millrace/__init__.py")
    version = re.search(r'^__version__ = "(.+)"$', package, re.MULTILINE)
    assert version is not None
    assert version[1] == newest


def test_each_change_is_one_line_of_a_known_kind() -> None:
    text = read(CHANGELOG).partition("## [Unreleased]")[2]
    for line in text.splitlines():
        assert not line or line.startswith(("## [", "- ")) or line.removeprefix("### ") in KINDS, line


def test_license_of_the_package_is_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert project["license"] == "MIT"
    for path in project["license-files"]:
        assert "Copyright (c) 2026 The Millrace authors" in read(ROOT / path)
