"""The runbook names only metrics, lines of the log and settings that there are, and every line about a fault."""

import ast
import re
from functools import cache

from tests.docs.pages import ROOT, anchors, names_in, prose, read

RUNBOOK = ROOT / "deploy/docs/runbook.md"
ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
SYMPTOMS = "# Runbook"  # the text before the first section
TABLES = "Warnings that need no one at night"


@cache
def logged() -> dict[str, set[str]]:
    """Return the levels of each line that the code logs, by its event, and "field" for each of their fields."""
    found: dict[str, set[str]] = {}
    for tier in ("webapp", "worker"):
        for path in sorted((ROOT / tier).rglob("*.py")):
            for call in ast.walk(ast.parse(path.read_text("utf-8"))):
                if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and _is_logger(call.func.value):
                    events = [each for first in call.args[:1] for each in ast.walk(first)]
                    names = [each.value for each in events if isinstance(each, ast.Constant)]
                    for name in names:
                        found.setdefault(str(name), set()).add(call.func.attr)
                    for keyword in call.keywords:
                        found.setdefault(keyword.arg or "", set()).add("field")
                elif isinstance(call, ast.Call) and getattr(call.func, "id", "") == "PeriodicTask" and call.args:
                    found.setdefault(str(ast.literal_eval(call.args[0])), set()).add("field")
    return found


def _is_logger(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "_log"


def sections() -> dict[str, str]:
    """Return the text of each section by its heading."""
    title, *parts = re.split(r"^## (.+)\n", read(RUNBOOK), flags=re.MULTILINE)
    assert title.startswith(SYMPTOMS)
    return dict(zip(parts[::2], parts[1::2], strict=True))


def words(pattern: str) -> set[str]:
    return {word for word in re.findall(r"`([^`\n]+)`", prose(RUNBOOK)) if re.fullmatch(pattern, word)}


def test_each_metric_event_code_and_setting_exists() -> None:
    known = {*logged(), *names_in("metrics"), *names_in("error-codes"), *names_in("problems")}
    named = words(r"[a-z]+(_[a-z0-9]+)+")
    bound = {"request_id"}
    of_other_programs = {"proxy_http_version", "max_connections", "http_1_0", "redis_password"}
    assert len(named) > 80
    assert not sorted(named - known - bound - of_other_programs)
    settings = {word.partition("=")[0] for word in words(r"MILLRACE_[A-Z_]+(=\w+)?")}
    assert not sorted(settings - set(names_in("settings")))


def test_each_line_about_a_fault_and_each_code_of_an_answer_has_its_place() -> None:
    faults = {event for event, levels in logged().items() if levels & {"error", "critical", "exception"}}
    assert len(faults) > 25
    page = read(RUNBOOK)
    missing = sorted(event for event in faults if f"`{event}`" not in page)
    assert not missing, f"say in deploy/docs/runbook.md what these lines mean and what to do: {missing}"
    codes = sections()["Answers fail"]
    assert not [code for code in names_in("error-codes") if f"`{code}`" not in codes]


def test_each_section_says_what_one_sees_what_to_do_and_why() -> None:
    for heading, text in sections().items():
        if heading != TABLES:
            labels = re.findall(r"^\*\*(\w+):\*\*", text, re.MULTILINE)
            assert labels in (["See", "Do", "Why"], ["See", "Do", "Then", "Why"]), (heading, labels)


def test_each_alert_leads_to_a_section() -> None:
    text = ALERTS.read_text("utf-8") if ALERTS.exists() else ""
    linked = set(re.findall(r"runbook\.md#([\w-]+)", text))
    assert not linked - anchors(RUNBOOK)
    assert text.count("- alert:") <= len(re.findall(r"runbook\.md#", text))


def test_lines_of_the_log_are_found_in_the_code() -> None:
    assert "exception" in logged()["generation_failed"]
    assert "warning" in logged()["redis_unavailable"]
