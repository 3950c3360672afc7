"""Checks that fail or hang do not stop the others, and no secret is in the report."""

import json
from collections.abc import Iterator

import gevent

from deploy.doctor.report import (
    Check,
    Finding,
    failed,
    hide,
    ok,
    render_json,
    render_line,
    render_total,
    run_checks,
    secrets_of,
    warning,
)


def hangs() -> Iterator[Finding]:
    yield ok("slow", "begun")
    gevent.sleep(60)


def raises() -> Iterator[Finding]:
    yield ok("broken", "begun")
    raise LookupError("no such thing")


def test_check_that_hangs_or_raises_keeps_its_findings_and_does_not_stop_the_next_one() -> None:
    checks = [Check("slow", hangs, 0.05), Check("broken", raises, 5), Check("fine", lambda: [ok("fine", "all")], 5)]
    found = list(run_checks(checks))
    assert [(each.subject, each.status) for each in found] == [
        *(("slow", "ok"), ("slow", "failed"), ("broken", "ok"), ("broken", "failed"), ("fine", "ok")),
    ]
    assert "did not end within 0.05 s" in found[1].found
    assert found[3].found.endswith("LookupError: no such thing")


def test_line_has_status_subject_and_advice_and_the_total_counts_them() -> None:
    found = [ok("redis", "serves"), warning("redis", "two\nlines", "Do this."), failed("database", "away", "Start it.")]
    assert [render_line(each) for each in found] == [
        "ok       redis: serves",
        "warning  redis: two lines\n         → Do this.",
        "failed   database: away\n         → Start it.",
    ]
    assert render_total(found) == "1 failed, 1 warning, 1 ok"
    assert json.loads(render_json(found))[2] == {
        "status": "failed",
        "subject": "database",
        "found": "away",
        "advice": "Start it.",
    }


def test_keys_and_passwords_of_the_environment_are_hidden() -> None:
    environment = {
        "MILLRACE_REDIS_URL": "redis://:pass%2Fword@host:6379/0",
        "OPENAI_API_KEY": "sk-1234567890",
        "AWS_SECRET_ACCESS_KEY": "aws/secret",
        "MILLRACE_METRICS_TOKEN": "a",
        "MILLRACE_MODEL_ID": "model",
        "ODD": "http://[bad",
        "MILLRACE_BROKER_URL": "rediss+sentinel://:first@s1,s2/answers/0?sentinel_password=second&ssl_password=thi%40rd",
        "MILLRACE_STREAM_REDIS_URLS": "a=redis://:fourth@host,b=redis://user:fifth@host;drain",
    }
    secrets = secrets_of(environment)
    text = hide("pass/word pass%2Fword sk-1234567890 aws/secret a model host", secrets)
    assert text == "… … … … a model host"
    assert hide("first second thi@rd fourth fifth user host answers", secrets) == "… … … … … user host answers"
