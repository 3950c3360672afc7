"""The doctor as a program: `python -m deploy.doctor`, which `deploy/run.py --check` starts in the environment."""

# ruff: noqa: E402 - patched before anything imports ssl, as in both tiers; so every wait can be interrupted.

from gevent import monkey

monkey.patch_all()

import argparse
import logging
import os
import sys
from collections.abc import Iterator, Mapping

from deploy.doctor.database import check_database
from deploy.doctor.installation import check_packages, check_page, check_settings
from deploy.doctor.models import MODEL_SECONDS, check_models
from deploy.doctor.redis_server import check_server, servers_of
from deploy.doctor.report import Check, Finding, hide, render_json, render_line, render_total, run_checks, secrets_of
from deploy.doctor.site import check_forwarding
from deploy.doctor.streams import check_url
from deploy.doctor.workers import ANSWER_SECONDS, check_workers, find_hosts
from millrace.worker.settings.schema import Settings

SLACK_SECONDS = 10.0


def main() -> int:
    """Run the checks that the flags name and print their findings; returns 1 if one has failed."""
    parser = argparse.ArgumentParser(prog="deploy/run.py --check", allow_abbrev=False)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--url", default="")
    parser.add_argument("--header", action="append", default=[])
    flags = parser.parse_args()
    logging.disable(logging.CRITICAL)  # the findings say it
    secrets = secrets_of(os.environ)
    found: list[Finding] = []
    headers = {name.strip(): value.strip() for name, _, value in (each.partition(":") for each in flags.header)}
    secrets |= {part for value in headers.values() for part in value.split()}
    for finding in _findings(os.environ, flags.url, headers):
        found.append(finding)
        if not flags.json:
            print(hide(render_line(finding), secrets), flush=True)
    print(hide(render_json(found), secrets) if flags.json else render_total(found))
    return int(any(finding.status == "failed" for finding in found))


def _findings(environment: Mapping[str, str], url: str, headers: dict[str, str]) -> Iterator[Finding]:
    yield from run_checks([Check("packages", check_packages, SLACK_SECONDS)])
    settings, found = check_settings(environment)
    yield from found
    if settings is not None:
        yield from run_checks(checks_of(settings, url, headers))


def checks_of(settings: Settings, url: str, headers: dict[str, str]) -> Iterator[Check]:
    """Yield the checks for these settings, in the order of the report."""
    yield Check("page", lambda: check_page(settings), SLACK_SECONDS)
    for server in servers_of(settings):
        yield Check(server.subject, lambda server=server: check_server(server), 2 * SLACK_SECONDS)
    yield Check("database", lambda: check_database(settings, find_hosts(settings)), 2 * SLACK_SECONDS)
    yield Check("workers", lambda: check_workers(settings), ANSWER_SECONDS + 2 * SLACK_SECONDS)
    yield Check("models", lambda: check_models(settings), MODEL_SECONDS + SLACK_SECONDS)
    if url:
        yield Check("url", lambda: check_url(url, headers, settings), 4 * ANSWER_SECONDS)
    # Last, so that the web processes have published their counts of the requests above.
    yield Check("proxies", lambda: check_forwarding(settings), SLACK_SECONDS)


if __name__ == "__main__":
    sys.exit(main())
