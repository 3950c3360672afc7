"""Writes dashboard.json for Grafana: `python3 -m deploy.monitoring.dashboard --write`. The panels are listed here.

The queries hold for scrapes of each process (`/metrics`) and of one address (`/metrics/cluster`).
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PATH = Path(__file__).parent / "dashboard.json"
_COLUMNS, _WIDTH, _HEIGHT = 3, 8, 8
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_RATE = "$__rate_interval"


@dataclass(frozen=True)
class Panel:
    """One chart: its queries, each with its legend."""

    title: str
    unit: str
    queries: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Row:
    """A heading and its panels."""

    title: str
    panels: tuple[Panel, ...]


def _rate(metric: str, by: str = "", where: str = "") -> str:
    grouped = f" by ({by})" if by else ""
    return f"sum{grouped} (rate({metric}{where}[{_RATE}]))"


def _quantiles(metric: str) -> tuple[tuple[str, str], ...]:
    rate = f"sum by (le) (rate({metric}_bucket[{_RATE}]))"
    return tuple((f"histogram_quantile({value}, {rate})", legend) for value, legend in ((0.5, "p50"), (0.95, "p95")))


def _only_some(query: str) -> str:
    """Return the query without the many series that are usually 0."""
    return f"{query} > 0"


def _at_most_all(share: str) -> str:
    return f"clamp_max({share}, 1)"


def _share(part: str, whole: str) -> str:
    return f"{part} / {whole}"


_LEFT = _rate("millrace_attempts_total", where='{outcome="cancelled",code="abandoned"}')
_ENDED = _rate("millrace_attempts_total", where='{outcome!="left"}')

ROWS = (
    Row(
        "Answers",
        (
            Panel(
                "Answers begun and ended",
                "ops",
                (
                    (_rate("millrace_generations_created_total"), "created"),
                    (_rate("millrace_attempts_total", "outcome"), "{{outcome}}"),
                ),
            ),
            Panel("Time to the first delta", "s", _quantiles("millrace_time_to_first_delta_seconds")),
            Panel("Duration of answers", "s", _quantiles("millrace_generation_seconds")),
            Panel(
                "Errors",
                "ops",
                (
                    (_rate("millrace_attempts_total", where='{outcome="error"}'), "all"),
                    (_only_some(_rate("millrace_attempts_total", "code", '{outcome="error"}')), "{{code}}"),
                ),
            ),
            Panel("Time from Stop to the closed stream", "s", _quantiles("millrace_cancel_seconds")),
            Panel("Deltas in an answer", "short", _quantiles("millrace_generation_chunks")),
        ),
    ),
    Row(
        "Queue and workers",
        (
            Panel("Oldest question that waits", "s", (("max(millrace_queue_oldest_seconds)", "oldest"),)),
            Panel(
                "Answers that run, and capacity",
                "short",
                (("sum(millrace_worker_running)", "running"), ("sum(millrace_worker_capacity)", "capacity")),
            ),
            Panel("Wait for a worker", "s", _quantiles("millrace_queue_wait_seconds")),
            Panel(
                "Queue",
                "short",
                (
                    ("max(millrace_queue_length)", "messages"),
                    ("max(millrace_unfinished)", "unfinished"),
                    ("max(millrace_workers_alive)", "workers alive"),
                ),
            ),
            Panel(
                "Takeovers and sweeps",
                "ops",
                (
                    (_rate("millrace_attempts_started_total", where='{kind="takeover"}'), "takeovers"),
                    (_rate("millrace_sweep_generations_total", "decision"), "swept: {{decision}}"),
                ),
            ),
            Panel("Appends to logs", "ops", ((_rate("millrace_log_appends_total", "verdict"), "{{verdict}}"),)),
        ),
    ),
    Row(
        "Models",
        (
            Panel(
                "Calls by result",
                "ops",
                (
                    (
                        _only_some(_rate("millrace_provider_calls_total", "provider, result")),
                        "{{provider}} {{result}}",
                    ),
                ),
            ),
            Panel("Model's first delta", "s", _quantiles("millrace_first_delta_seconds")),
            Panel("Open breakers", "short", (("max by (provider, model) (millrace_breaker_open)", "{{model}}"),)),
            Panel("Tokens a second", "short", ((_rate("millrace_tokens_total", "kind"), "{{kind}}"),)),
            Panel(
                "Dollars an hour",
                "currencyUSD",
                (
                    (
                        f"3600 * {_rate('millrace_cost_dollars_total', 'purpose, model')}",
                        "{{purpose}} {{model}}",
                    ),
                ),
            ),
            Panel(
                "Text from models, events to logs",
                "Bps",
                ((_rate("millrace_provider_bytes_total"), "text"), (_rate("millrace_log_bytes_total"), "events")),
            ),
        ),
    ),
    Row(
        "Readers",
        (
            Panel(
                "Readers",
                "short",
                (
                    ("sum(millrace_readers)", "open"),
                    ("sum(millrace_readers_lagging)", "lagging"),
                    ("sum(millrace_readers_full)", "full"),
                    ("sum(millrace_followed_generations)", "generations followed"),
                ),
            ),
            Panel(
                "Streams begun and ended",
                "ops",
                (
                    (_rate("millrace_reader_starts_total", "kind"), "{{kind}}"),
                    (_rate("millrace_reader_ends_total", "reason"), "ended: {{reason}}"),
                ),
            ),
            Panel(
                "Bytes of events",
                "Bps",
                (
                    (_rate("millrace_relay_received_bytes_total"), "from Redis"),
                    (_rate("millrace_relay_sent_bytes_total"), "to readers"),
                ),
            ),
            Panel(
                "Log reads and repairs",
                "ops",
                (
                    (_rate("millrace_relay_log_reads_total"), "reads"),
                    (_rate("millrace_relay_repairs_total", "reason"), "repairs: {{reason}}"),
                ),
            ),
            Panel(
                "Answers stopped, left, and streams resumed",
                "percentunit",
                (
                    (
                        _share(
                            _rate("millrace_attempts_total", where='{outcome="cancelled",code="user"}'),
                            _ENDED,
                        ),
                        "stopped",
                    ),
                    (_share(_LEFT, _ENDED), "left"),
                    (
                        _share(
                            _rate("millrace_reader_starts_total", where='{kind="resumed"}'),
                            _rate("millrace_reader_starts_total"),
                        ),
                        "resumed",
                    ),
                ),
            ),
            Panel(
                "Share of text that somebody followed or saw",
                "percentunit",
                (
                    (
                        # A text that two web processes follow counts twice.
                        _at_most_all(
                            _share(
                                _rate("millrace_relay_received_bytes_total", where='{watched="yes"}'),
                                _rate("millrace_log_bytes_total"),
                            )
                        ),
                        "followed",
                    ),
                    (
                        _share(
                            _rate("millrace_page_visible_seconds_total"),
                            _rate("millrace_page_streaming_seconds_total"),
                        ),
                        "visible",
                    ),
                ),
            ),
        ),
    ),
    Row(
        "Dependencies",
        (
            Panel(
                "Answers (1) or does not (0)",
                "short",
                (
                    ("min(millrace_redis_up)", "Redis"),
                    ("min by (node) (millrace_stream_node_up)", "node {{node}}"),
                    ('min by (job) (up{job=~".*millrace.*"})', "{{job}}"),
                ),
            ),
            Panel(
                "Failures of the database and the limiter",
                "ops",
                (
                    (_rate("millrace_store_failures_total"), "answers not stored at once"),
                    (_rate("millrace_problems_total", where='{code="store_away"}'), "requests without database"),
                    (_rate("millrace_limiter_failures_total"), "limiter"),
                ),
            ),
            Panel(
                "Expired data",
                "short",
                (
                    ("sum by (result) (increase(millrace_retention_passes_total[1h]))", "passes an hour: {{result}}"),
                    ("sum by (kind) (increase(millrace_retention_deleted_total[1h]))", "deleted an hour: {{kind}}"),
                ),
            ),
        ),
    ),
    Row(
        "Processes",
        (
            Panel("Requests", "reqps", ((_rate("millrace_http_requests_total", "status"), "{{status}}"),)),
            Panel("Time of requests", "s", _quantiles("millrace_http_request_seconds")),
            Panel(
                "Problems",
                "ops",
                (
                    (_rate("millrace_problems_total"), "all"),
                    (_only_some(_rate("millrace_problems_total", "code")), "{{code}}"),
                ),
            ),
            Panel("Lag of event loops", "s", _quantiles("millrace_event_loop_lag_seconds")),
            Panel(
                "Processor",
                "percentunit",
                ((f"rate(process_cpu_seconds_total[{_RATE}])", "{{instance}} {{process}}"),),
            ),
            Panel("Memory", "bytes", (("process_resident_memory_bytes", "{{instance}} {{process}}"),)),
        ),
    ),
)


def dashboard() -> dict[str, Any]:
    """Return the dashboard in Grafana's form."""
    panels: list[dict[str, Any]] = []
    top = 0
    for row in ROWS:
        panels.append({"type": "row", "title": row.title, "id": len(panels) + 1, "gridPos": _position(0, top, 24, 1)})
        top += 1
        for number, panel in enumerate(row.panels):
            place = _position(number % _COLUMNS * _WIDTH, top + number // _COLUMNS * _HEIGHT, _WIDTH, _HEIGHT)
            panels.append(_panel(panel, len(panels) + 1, place))
        top += (len(row.panels) + _COLUMNS - 1) // _COLUMNS * _HEIGHT
    return {
        "title": "Millrace",
        "uid": "millrace",
        "tags": ["millrace"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "templating": {
            "list": [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus"}]
        },
        "panels": panels,
    }


def _position(left: int, top: int, width: int, height: int) -> dict[str, int]:
    return {"x": left, "y": top, "w": width, "h": height}


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    targets = [
        {"datasource": _SOURCE, "refId": chr(ord("A") + at), "expr": query, "legendFormat": legend}
        for at, (query, legend) in enumerate(panel.queries)
    ]
    return {
        "type": "timeseries",
        "title": panel.title,
        "id": number,
        "datasource": _SOURCE,
        "gridPos": place,
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi"}},
        "targets": targets,
    }


def text() -> str:
    """Return the content of the file."""
    return json.dumps(dashboard(), indent=1) + "\n"


def main(arguments: Sequence[str]) -> int:
    """Write the file with `--write`; without, tell whether it is up to date."""
    if "--write" in arguments:
        PATH.write_text(text(), "utf-8")
        return 0
    return int(not PATH.exists() or PATH.read_text("utf-8") != text())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
