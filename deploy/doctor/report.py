"""Checks and their findings: each check runs within its time, and none stops the others. The findings make a table."""

import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Literal
from urllib.parse import unquote, urlsplit

import gevent

from deploy.system.topology import SECRET_WORDS

Status = Literal["ok", "warning", "failed"]
STATUSES: tuple[Status, ...] = ("failed", "warning", "ok")
_WIDTH = max(map(len, STATUSES))
_INDENT = " " * (_WIDTH + 2)
_HIDDEN = "…"
_PASSWORDS = re.compile(r"://[^/@\s]*?:([^/@\s]+)@|[?&]\w*password=([^&#\s,;]+)")  # of the URLs of a list, too
_MIN_SECRET_CHARACTERS = 4  # a shorter one would be replaced in the middle of ordinary words


@dataclass(frozen=True)
class Finding:
    """One line of the report; `advice` says what to do about a warning or a failure."""

    status: Status
    subject: str
    found: str
    advice: str = ""


@dataclass(frozen=True)
class Check:
    """A check, which yields its findings one by one, and the seconds within which it must end."""

    subject: str
    run: Callable[[], Iterable[Finding]]
    seconds: float


def ok(subject: str, found: str) -> Finding:
    """Return the finding that something is as it should be."""
    return Finding("ok", subject, found)


def warning(subject: str, found: str, advice: str) -> Finding:
    """Return the finding of something that works and has a consequence to know."""
    return Finding("warning", subject, found, advice)


def failed(subject: str, found: str, advice: str) -> Finding:
    """Return the finding of something that does not work."""
    return Finding("failed", subject, found, advice)


def run_checks(checks: Iterable[Check]) -> Iterator[Finding]:
    """Run the checks one after the other and yield their findings as they come.

    A check that raises or takes too long ends with a failed finding, and the next one runs. The time limit interrupts
    a wait only under gevent's patches.
    """
    for check in checks:
        timeout = gevent.Timeout.start_new(check.seconds)
        began = time.monotonic()
        try:
            yield from check.run()
        except gevent.Timeout as raised:
            if raised is not timeout:
                raise
            found = f"the check did not end within {check.seconds:g} s"
            yield failed(check.subject, found, "Something that it asks does not answer. Look at the lines above.")
        except Exception as error:  # noqa: BLE001 - the edge: the next check must run, whatever this one met
            found = f"the check failed after {time.monotonic() - began:.1f} s: {type(error).__name__}: {error}"
            yield failed(check.subject, found, "If nothing above explains it, report it as a defect.")
        finally:
            timeout.close()


def render_line(finding: Finding) -> str:
    """Return a finding as text: status, subject and what was found, and the advice on a line of its own."""
    first = f"{finding.status:<{_WIDTH}}  {finding.subject}: {_one_line(finding.found)}"
    return f"{first}\n{_INDENT}→ {_one_line(finding.advice)}" if finding.advice else first


def render_total(findings: Iterable[Finding]) -> str:
    """Return the number of findings by status."""
    statuses = [finding.status for finding in findings]
    return ", ".join(f"{statuses.count(each)} {each}" for each in STATUSES)


def render_json(findings: Iterable[Finding]) -> str:
    """Return all findings as a JSON array."""
    return json.dumps([asdict(finding) for finding in findings], indent=1)


def hide(text: str, secrets: Iterable[str]) -> str:
    """Return the text without the secrets: a server's error may quote them, and a report is sent to others."""
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) >= _MIN_SECRET_CHARACTERS:
            text = text.replace(secret, _HIDDEN)
    return text


def secrets_of(environment: Mapping[str, str]) -> set[str]:
    """Return the values that no line of the report may show: keys, tokens, and the passwords in URLs."""
    found = {value for name, value in environment.items() if any(word in name.upper() for word in SECRET_WORDS)}
    for value in environment.values():
        if "://" in value:
            for password in _passwords_in(value):
                found |= {password, unquote(password)}
    return found


def _passwords_in(value: str) -> Iterator[str]:
    """Yield the passwords of the URLs in a value: those before their hosts, and those among their options."""
    with suppress(ValueError):
        if password := urlsplit(value).password:
            yield password
    for before_host, option in _PASSWORDS.findall(value):
        yield before_host or option


def _one_line(text: str) -> str:
    return " ".join(text.split())
