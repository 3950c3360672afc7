"""Checks of what is installed: Python, the packages of the environment, and the settings of both tiers."""

import re
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deploy.doctor.report import Finding, failed, ok, warning
from millrace.webapp import settings as web_settings
from millrace.webapp.assets.bundles import bundles_location
from millrace.webapp.assets.installation import location
from millrace.worker.errors import SettingError
from millrace.worker.settings.api_keys import read_keys
from millrace.worker.settings.schema import Settings, load

CONSTRAINTS = Path(__file__).resolve().parent.parent / "constraints"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+) *(;)?", re.MULTILINE)
_SHOWN = 5  # packages named in one line


def check_packages(constraints: Path = CONSTRAINTS) -> Iterator[Finding]:
    """Yield the version of Python, and the packages that are missing or have a version that the tests never ran with.

    An environment for the tests holds those of `test.txt` instead.
    """
    python = f"Python {sys.version.split()[0]}"
    run, test = (_pins(constraints / name) for name in ("run.txt", "test.txt"))
    missing, different = list[str](), list[str]()
    for name, wanted in run.items():
        found = _version_of(name)
        if found is None:
            missing.append(name)
        elif found not in (wanted, test.get(name)):
            different.append(f"{name} {found} instead of {wanted}")
    if missing:
        advice = "Remove .venv and run the command again: it makes the environment anew."
        yield failed("packages", f"{python}; not installed: {_some(missing)}", advice)
    elif different:
        advice = "The tests have passed with the pinned versions only. Remove .venv and run the command again."
        yield warning("packages", f"{python}; {_some(different)}", advice)
    else:
        yield ok("packages", f"{python}; {len(run)} packages as pinned")


def _pins(path: Path) -> dict[str, str]:
    """Return the pinned versions of the packages that every platform needs."""
    return {name: wanted for name, wanted, marker in _PIN.findall(path.read_text("utf-8")) if not marker}


def check_settings(environment: Mapping[str, str]) -> tuple[Settings | None, list[Finding]]:
    """Return the settings, None if they are not valid, and the findings about them."""
    try:
        settings = load(environment)
    except SettingError as error:
        advice = "Correct or remove the variable. Neither tier starts with it, and no other check can run."
        return None, [failed("settings", str(error), advice)]
    names = [name for name in environment if name.startswith("MILLRACE_") and environment[name]]
    found = [ok("settings", f"{len(names)} variables of Millrace are set, all of them valid")]
    try:
        web_settings.check(settings)
    except SettingError as error:
        advice = "The web tier does not start like this; a worker does. (`deploy/run.py` makes a key of its own.)"
        found.append(warning("settings", str(error), advice))
    else:
        found += _check_keys(settings)
    return settings, found


def check_page(settings: Settings) -> Iterator[Finding]:
    """Yield whether the page's libraries and bundles are installed, for exactly this release."""
    directory = Path(settings.http.assets_directory)
    libraries, bundles = location(directory), bundles_location(directory)
    advice = "Run `millrace-assets` with the environment of the web processes, or copy its directory to them."
    if not libraries.is_dir():
        yield warning("page", f"{libraries} is missing: the page shows answers as plain text", advice)
    elif not bundles.is_dir():
        yield warning("page", f"{bundles} is missing: a first visit takes 70 requests more", advice)
    else:
        yield ok("page", f"its libraries and bundles are in {directory.absolute()}")


def _check_keys(settings: Settings) -> list[Finding]:
    if not settings.auth.api_keys:
        return []
    keys = read_keys(settings.auth.api_keys)
    return [ok("api keys", f"{len(keys)} keys of {len({key.owner for key in keys})} owners")]


def _version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _some(items: list[str]) -> str:
    rest = len(items) - _SHOWN
    return ", ".join(items[:_SHOWN]) + (f" and {rest} more" if rest > 0 else "")
