"""Assertions on the findings of a check."""

from collections.abc import Iterable

from deploy.doctor.report import Finding, Status
from tests.system import ROOT

METRICS_PAGE = ROOT / "deploy" / "docs" / "metrics.md"
"""Its table is generated from the code, so that a metric which the doctor reads cannot be renamed without it."""


def the(findings: Iterable[Finding], status: Status) -> Finding:
    """Return the only finding of a status."""
    every = list(findings)
    found = [each for each in every if each.status == status]
    assert len(found) == 1, every
    return found[0]


def all_ok(findings: Iterable[Finding]) -> str:
    """Return what was found, in one text; every finding is fine."""
    every = list(findings)
    assert every
    assert {each.status for each in every} == {"ok"}, every
    return "\n".join(each.found for each in every)
