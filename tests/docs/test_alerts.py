"""Each alert fires when it should and not before, asks for metrics that exist, and says what to do."""

import json
import re
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML

from tests.deploy.monitoring.names import check_query
from tests.deploy.monitoring.promtool import promtool
from tests.docs.pages import ROOT

ALERTS = ROOT / "deploy/monitoring/alerts.yaml"
MINUTES = 60  # the longest `for` and range of an alert but that of the costs are 15 minutes each
DAY = 26 * 12  # steps of five minutes
Series = dict[str, str]
QUIET: Series = {
    'up{job="millrace-web",instance="a"}': "1x60",
    'up{job="another",instance="b"}': "0x60",
    "millrace_redis_up": "1x60",
    'millrace_stream_node_up{node="b"}': "1x60",
    "millrace_workers_alive": "2x60",
    "millrace_queue_oldest_seconds": "0x60",
    "millrace_worker_running": "10x60",
    "millrace_worker_capacity": "500x60",
    'millrace_web_processes{state="silent"}': "0x60",
    'millrace_attempts_total{outcome="complete",code=""}': "0+100x60",
    'millrace_attempts_total{outcome="error",code="internal"}': "0+1x60",
    'millrace_attempts_started_total{kind="takeover"}': "0x60",
    'millrace_provider_calls_total{provider="bedrock",result="ok"}': "0+100x60",
    'millrace_provider_calls_total{provider="bedrock",result="provider_throttled"}': "0+5x60",
    'millrace_provider_calls_total{provider="bedrock",result="provider_authentication"}': "0x60",
    'millrace_breaker_open{provider="bedrock",model="m"}': "0x60",
    'millrace_time_to_first_delta_seconds_bucket{le="1.0"}': "0+100x60",
    'millrace_time_to_first_delta_seconds_bucket{le="30.0"}': "0+100x60",
    'millrace_time_to_first_delta_seconds_bucket{le="+Inf"}': "0+100x60",
    'millrace_cancel_seconds_bucket{le="0.3"}': "0+100x60",
    'millrace_cancel_seconds_bucket{le="5.0"}': "0+100x60",
    'millrace_cancel_seconds_bucket{le="+Inf"}': "0+100x60",
    'millrace_event_loop_lag_seconds_bucket{instance="a",le="0.1"}': "0+240x60",
    'millrace_event_loop_lag_seconds_bucket{instance="a",le="2.5"}': "0+240x60",
    'millrace_event_loop_lag_seconds_bucket{instance="a",le="+Inf"}': "0+240x60",
    "millrace_store_failures_total": "0x60",
    'millrace_reader_ends_total{reason="done"}': "0+100x60",
    'millrace_reader_ends_total{reason="stalled"}': "0+1x60",
    'millrace_reader_starts_total{kind="new"}': "0+100x60",
    'millrace_reader_starts_total{kind="resumed"}': "0+10x60",
    'millrace_relay_repairs_total{reason="gap"}': "0x60",
    'millrace_relay_repairs_total{reason="lost"}': "0x60",
    'millrace_log_appends_total{verdict="lost"}': "0x60",
    'millrace_http_requests_total{status="200"}': "0+1000x60",
    'millrace_http_requests_total{status="500"}': "0+1x60",
    'millrace_problems_total{code="rate_limited"}': "0+10x60",
    'millrace_problems_total{code="unauthorized"}': "0+10x60",
    'millrace_problems_total{code="store_away"}': "0x60",
    'millrace_problems_total{code="too_many_readers"}': "0x60",
    "millrace_limiter_failures_total": "0x60",
    'millrace_proxy_faults_total{kind="untrusted"}': "0x60",
}
"""A system that is well, over an hour, a value a minute."""

BAD: dict[str, Series | None] = {
    "MillraceTargetDown": {'up{job="millrace-web",instance="a"}': "0x60"},
    "MillraceMetricsMissing": None,  # no series at all
    "MillraceRedisUnavailable": {"millrace_redis_up": "0x60"},
    "MillraceDataLost": {'millrace_log_appends_total{verdict="lost"}': "0+1x60"},
    "MillraceStreamNodeAway": {'millrace_stream_node_up{node="b"}': "0x60"},
    "MillraceNoWorkerAlive": {"millrace_workers_alive": "0x60"},
    "MillraceAnswersWait": {"millrace_queue_oldest_seconds": "20x60"},
    "MillraceWorkersAtCapacity": {"millrace_worker_running": "460x60"},
    "MillraceWorkersDie": {'millrace_attempts_started_total{kind="takeover"}': "0+1x60"},
    "MillraceProcessStalls": {'millrace_event_loop_lag_seconds_bucket{instance="a",le="0.1"}': "0+200x60"},
    "MillraceWebProcessSilent": {'millrace_web_processes{state="silent"}': "1x60"},
    "MillraceCancelsSlow": {'millrace_cancel_seconds_bucket{le="0.3"}': "0+50x60"},
    "MillraceAnswersFail": {'millrace_attempts_total{outcome="error",code="internal"}': "0+10x60"},
    "MillraceProviderFails": {
        'millrace_provider_calls_total{provider="bedrock",result="provider_throttled"}': "0+50x60"
    },
    "MillraceProviderRefusesCredentials": {
        'millrace_provider_calls_total{provider="bedrock",result="provider_authentication"}': "0+1x60"
    },
    "MillraceBreakerOpen": {'millrace_breaker_open{provider="bedrock",model="m"}': "1x60"},
    "MillraceFirstTextSlow": {'millrace_time_to_first_delta_seconds_bucket{le="1.0"}': "0+80x60"},
    "MillraceDatabaseUnavailable": {'millrace_problems_total{code="store_away"}': "0+1x60"},
    "MillraceAnswersNotStored": {"millrace_store_failures_total": "0+1x60"},
    "MillraceAnswersStayUnstored": {"millrace_store_failures_total": "0+1x60"},
    "MillraceReadersCut": {'millrace_reader_ends_total{reason="stalled"}': "0+10x60"},
    "MillraceReadersReconnect": {'millrace_reader_starts_total{kind="resumed"}': "0+200x60"},
    "MillraceGapsRepaired": {'millrace_relay_repairs_total{reason="gap"}': "0+1x60"},
    "MillraceWebFull": {'millrace_problems_total{code="too_many_readers"}': "0+1x60"},
    "MillraceWebFails": {'millrace_http_requests_total{status="500"}': "0+20x60"},
    "MillraceUsersRateLimited": {'millrace_problems_total{code="rate_limited"}': "0+200x60"},
    "MillraceRateLimitingUnavailable": {"millrace_limiter_failures_total": "0+1x60"},
    "MillraceUsersCannotLogIn": {'millrace_problems_total{code="unauthorized"}': "0+900x60"},
    "MillraceProxyMisconfigured": {'millrace_proxy_faults_total{kind="untrusted"}': "0+5x60"},
}
"""The series that differ where an alert must fire."""

BLIPS: Series = {
    'millrace_attempts_total{outcome="complete",code=""}': "0x60",
    'millrace_attempts_total{outcome="error",code="internal"}': "0x57 1+0x3",
    'millrace_http_requests_total{status="200"}': "0+10x60",
    'millrace_http_requests_total{status="500"}': "0x57 1+0x3",
    'millrace_problems_total{code="store_away"}': "0x57 1+0x3",
    'millrace_problems_total{code="too_many_readers"}': "0x57 1+0x3",
    "millrace_limiter_failures_total": "0x57 1+0x3",
    "millrace_store_failures_total": "0x45 1+0x15",
    'millrace_provider_calls_total{provider="bedrock",result="provider_authentication"}': "0x57 1+0x3",
}
"""One failure of each kind, at night."""
PAGES = (
    "Millrace(AnswersFail|AnswersStayUnstored|WebFails|DatabaseUnavailable|WebFull|RateLimitingUnavailable"
    "|ProviderRefusesCredentials)"
)


def rules() -> list[dict[str, Any]]:
    loaded = YAML(typ="safe").load(ALERTS)
    return [dict(rule) for group in loaded["groups"] for rule in group["rules"]]


def test_each_alert_says_what_it_means_what_to_do_first_and_where_to_read_on() -> None:
    for rule in rules():
        assert rule["labels"]["severity"] in ("page", "ticket"), rule["alert"]
        notes = rule["annotations"]
        assert list(notes) == ["summary", "meaning", "first_step", "runbook"], rule["alert"]
        assert all(notes[name].endswith(".") for name in ("summary", "meaning", "first_step")), rule["alert"]
        assert re.fullmatch(r"deploy/docs/runbook\.md#[a-z0-9-]+", notes["runbook"]), rule["alert"]


def test_every_query_names_metrics_and_labels_that_exist() -> None:
    for rule in rules():
        check_query(rule["expr"])


def as_input(series: Series) -> list[dict[str, str]]:
    """Return the series in promtool's form, in which a constant needs a slope."""
    constant = re.compile(r"^([\d.]+)x")
    return [{"series": name, "values": constant.sub(r"\1+0x", values)} for name, values in series.items()]


def firing(name: str, series: Series, *, count: int, minutes: int = MINUTES, step: int = 1) -> dict[str, Any]:
    """Return a test of promtool: after these minutes the alert fires for this many series."""
    fires = {"labels": "{}", "value": count}
    return {
        "interval": f"{step}m",
        "name": name,
        "input_series": as_input(series),
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertstate="firing",alertname=~"{name}"}})',
                "eval_time": f"{minutes}m",
                "exp_samples": [fires] if count else [],
            }
        ],
    }


def test_each_alert_fires_for_its_own_trouble_and_none_fires_while_all_is_well(tmp_path: Path) -> None:
    costs = 'millrace_cost_dollars_total{purpose="answer",provider="bedrock",model="m"}'
    passes = 'millrace_retention_passes_total{result="complete"}'
    assert BAD.keys() | {"MillraceCostsRise", "MillraceOldDataNotDeleted"} == {rule["alert"] for rule in rules()}
    tests = [
        firing(".*", QUIET, count=0),
        *(firing(PAGES, {**QUIET, **BLIPS}, count=0, minutes=minutes) for minutes in (60, 62, 64)),
        *(firing(name, {} if bad is None else {**QUIET, **bad}, count=1) for name, bad in BAD.items()),
    ]
    over_a_day = [
        firing("MillraceCostsRise", {costs: f"0+1x{DAY}"}, count=0, minutes=5 * DAY, step=5),
        firing("MillraceCostsRise", {costs: f"0+1x{DAY - 24} 300+5x24"}, count=1, minutes=5 * DAY, step=5),
        firing("MillraceOldDataNotDeleted", {passes: f"0+5x{DAY}"}, count=0, minutes=5 * DAY, step=5),
        *(
            firing("MillraceOldDataNotDeleted", {passes: f"0+5x24 120+0x{DAY}"}, count=count, minutes=minutes, step=5)
            for count, minutes in ((0, 120 + 330), (1, 120 + 375))
        ),
    ]
    promtool("check", "rules", str(ALERTS))
    for step, some in ((1, tests), (5, over_a_day)):
        file = tmp_path / f"{step}.json"  # JSON is YAML
        file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": f"{step}m", "tests": some}))
        promtool("test", "rules", str(file))
