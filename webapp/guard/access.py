"""Which host names the server answers to, and which clients may see its metrics."""

from flask import request
from flask.sansio.scaffold import Scaffold

from millrace.webapp.mounts import current_mount
from millrace.webapp.problems import Problem
from millrace.webapp.services import services
from millrace.worker.observability.metrics_access import may_read_metrics
from millrace.worker.settings.parsers import host_name

_MAX_SHOWN_CHARACTERS = 200
_FIXED = "werkzeug.proxy_fix.orig"  # https://werkzeug.palletsprojects.com/en/stable/middleware/proxy_fix/


def install(scaffold: Scaffold) -> None:
    """Check the host of every request, and count those that show a wrongly configured proxy."""
    scaffold.before_request(reject_unknown_host)
    scaffold.before_request(count_proxy_faults)


def reject_unknown_host() -> None:
    """Raise Problem 400 for a `Host` that is not in `MILLRACE_ALLOWED_HOSTS`; its port does not matter.

    Without this check a site whose name resolves to this server's address may use it under its own origin
    (https://en.wikipedia.org/wiki/DNS_rebinding). The health checks answer to any name, because a load balancer often
    asks by address.
    """
    allowed = services().settings.http.allowed_hosts
    if not allowed or request.blueprint == f"{current_mount()}.health":
        return
    if host_name(request.host) not in allowed:
        host = request.host[:_MAX_SHOWN_CHARACTERS]
        raise Problem(400, "unknown_host", f"This server does not answer to the host {host} (MILLRACE_ALLOWED_HOSTS).")


def count_proxy_faults() -> None:
    """Count a request that shows that the proxies in front are configured in another way than the settings say.

    Probes and scrapers usually come past the proxies. An app with a `ProxyFix` of its own knows its proxies.
    """
    if request.blueprint in (f"{current_mount()}.health", f"{current_mount()}.metrics"):
        return
    trusted = services().settings.http.trusted_proxies
    forwarded = request.headers.get("X-Forwarded-For", "")
    faults = services().metrics.proxy_faults
    if trusted and forwarded.count(",") + bool(forwarded) < trusted:
        faults.labels("missing").inc()
    elif forwarded and not trusted and _FIXED not in request.environ:
        faults.labels("untrusted").inc()
    if request.environ.get("SERVER_PROTOCOL") == "HTTP/1.0":
        faults.labels("http_1_0").inc()


def may_see_metrics() -> bool:
    """Return whether the client may see metrics and the results of checks."""
    return may_read_metrics(request.environ, services().settings.http.metrics_token)
