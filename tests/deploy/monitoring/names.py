"""The metrics that queries name, and those that exist, each with its labels."""

import re

from tests.docs.pages import ROOT, read

_OTHERS = {"up": set[str](), "process_cpu_seconds_total": set[str](), "process_resident_memory_bytes": set[str]()}
_TARGET_LABELS = {"instance", "job", "process", "le"}  # of the scrape, of the process, of histograms


def known_metrics() -> dict[str, set[str]]:
    """Return each documented metric with its labels; of a histogram, its series."""
    known = dict(_OTHERS)
    for line in read(ROOT / "deploy/docs/metrics.md").splitlines():
        if found := re.match(r"\| `(millrace_\w+)` \| (\w+) \| ([^|]*) \|", line):
            name, kind, labels = found[1], found[2], set(re.findall(r"\w+", found[3]))
            for suffix in ("_bucket", "_sum", "_count") if kind == "histogram" else ("",):
                known[name + suffix] = labels
    return known


def check_query(query: str) -> None:
    """Assert that every metric of a query exists, with the labels that the query selects by."""
    known = known_metrics()
    names = re.findall(r"\b(?:(?:millrace|process)_\w+|up\b)", query)
    assert names, query
    for name in names:
        assert name in known, f"{name} in {query}"
    for name, selectors in re.findall(r"\b((?:millrace|process)_\w+|up)\{([^}]*)\}", query):
        labels = set(re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", selectors))
        assert labels <= known[name] | _TARGET_LABELS, f"{labels} of {name} in {query}"
    labels = {label for found in re.findall(r"\bby \(([^)]*)\)", query) for label in re.findall(r"\w+", found)}
    assert labels <= _TARGET_LABELS.union(*(known[name] for name in names)), f"{labels} in {query}"
