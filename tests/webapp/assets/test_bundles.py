"""Bundles, made by a program of the test in the bundler's place; the browser's tests run those of the real one."""

import os
from pathlib import Path

import pytest

from millrace.webapp.assets.bundles import ENTRIES, bundle, bundles_location
from millrace.webapp.assets.installation import AssetsUnavailable, bundler_location, location

WRITES = """#!/bin/sh
for each; do case "$each" in --outdir=*) out="${each#--outdir=}"; mkdir -p "$out";; esac; done
for each; do case "$each" in *.js) wc -c < "$each" > "$out/$each";; esac; done
"""


def put_bundler(directory: Path, text: str) -> None:
    program = bundler_location(location(directory))
    program.write_text(text)
    program.chmod(0o755)


def test_bundles_are_made_once_of_every_entry(tmp_path: Path) -> None:
    assert bundle(tmp_path) is None, "no bundler for this machine"
    put_bundler(tmp_path, WRITES)
    made = bundle(tmp_path)
    assert made is not None
    assert made == bundles_location(tmp_path)
    assert sorted(path.name for path in made.iterdir()) == sorted(ENTRIES)
    assert all(path.stat().st_mode & 0o044 for path in made.iterdir()), "the web tier may run as another user"
    put_bundler(tmp_path, "#!/bin/sh\nexit 1\n")
    assert bundle(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".draft")] == []


def test_failure_names_its_cause_and_leaves_nothing(tmp_path: Path) -> None:
    put_bundler(tmp_path, "#!/bin/sh\necho 'page.js:1: no such file' >&2\nexit 1\n")
    with pytest.raises(AssetsUnavailable, match=r"page\.js:1: no such file"):
        bundle(tmp_path)
    put_bundler(tmp_path, "not a program")
    with pytest.raises(AssetsUnavailable, match="could not be bundled"):
        bundle(tmp_path)
    assert not bundles_location(tmp_path).exists()


def test_bundles_of_the_release_before_stay_and_older_ones_are_removed(tmp_path: Path) -> None:
    for age, name in enumerate(("bundles-previous", "bundles-older", "bundles-oldest"), 1):
        (tmp_path / name).mkdir()
        (tmp_path / name / "page.js").touch()
        os.utime(tmp_path / name, (age * -60 + 1e9, age * -60 + 1e9))
    libraries = location(tmp_path)
    libraries.mkdir()
    put_bundler(tmp_path, WRITES)
    made = bundle(tmp_path)
    assert made is not None
    held = {path for path in tmp_path.iterdir() if path.is_dir()}
    assert held == {libraries, made, tmp_path / "bundles-previous"}
    (tmp_path / "bundles-next").mkdir()  # a newer release, which gives way to this one again
    os.utime(made, (0, 0))
    assert bundle(tmp_path) == made
    assert {path.name for path in tmp_path.glob("bundles-*")} == {made.name, "bundles-next"}
    assert made.stat().st_mtime > 1e9, "the bundles that were asked for last are the newest"
