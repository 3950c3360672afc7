"""Packages that are missing or have other versions, and settings that are wrong."""

import json
from importlib.metadata import version
from pathlib import Path

from deploy.doctor.installation import check_packages, check_page, check_settings
from millrace.webapp.assets.bundles import bundles_location
from millrace.webapp.assets.installation import location
from tests.deploy.doctor.findings import all_ok, the

KEY = {"MILLRACE_SECRET_KEY": "k" * 32}


def write(directory: Path, run: str, test: str = "") -> Path:
    (directory / "run.txt").write_text(run)
    (directory / "test.txt").write_text(test)
    return directory


def test_the_environment_of_this_project_is_as_pinned() -> None:
    assert "packages as pinned" in all_ok(check_packages())


def test_missing_packages_fail_and_other_versions_warn(tmp_path: Path) -> None:
    flask = version("flask")
    absent = write(tmp_path, "no-such-thing==1.0 \\\n    --hash=sha256:00\nflask==0.1\n")
    assert "not installed: no-such-thing" in the(check_packages(absent), "failed").found
    other = write(tmp_path, "flask==0.1\n")
    assert f"flask {flask} instead of 0.1" in the(check_packages(other), "warning").found
    tested = write(tmp_path, "flask==0.1\ntzdata==1 ; sys_platform == 'win32'\n", f"flask=={flask}\n")
    all_ok(check_packages(tested))


def test_bad_setting_is_named_and_no_settings_are_returned() -> None:
    for name in ("MILLRACE_FLUSH_MS", "MILLRACE_FLUSH_MILLISECONDS"):
        settings, found = check_settings({**KEY, name: "soon"})
        assert settings is None
        assert the(found, "failed").found.startswith(f"{name}: ")


def test_web_tier_without_its_key_is_a_warning_because_a_worker_starts() -> None:
    settings, found = check_settings({})
    assert settings is not None
    assert "MILLRACE_SECRET_KEY: is not set" in the(found, "warning").found
    assert "1 variables of Millrace are set" in all_ok(check_settings(KEY)[1])


def test_api_keys_are_counted() -> None:
    keys = [{"sha256": f"{number:064x}", "owner": owner} for number, owner in enumerate(("ada", "ada", "eve"))]
    found = check_settings({**KEY, "MILLRACE_API_KEYS": json.dumps(keys)})[1]
    assert [each.found for each in found if each.subject == "api keys"] == ["3 keys of 2 owners"]


def test_page_without_its_libraries_or_bundles_is_a_warning(tmp_path: Path) -> None:
    settings, _ = check_settings({**KEY, "MILLRACE_ASSETS_DIR": str(tmp_path)})
    assert settings is not None
    assert "plain text" in the(check_page(settings), "warning").found
    location(tmp_path).mkdir()
    assert "requests more" in the(check_page(settings), "warning").found
    bundles_location(tmp_path).mkdir()
    assert str(tmp_path) in all_ok(check_page(settings))
