"""A Flask application with only the relay's routes, for gunicorn, with the hooks of the real configuration."""

import os
import resource
from typing import Any

from flask import Flask, Response, jsonify, request

from millrace.webapp.problems import Problem
from millrace.webapp.relay import Hub, event_stream, multiplexed_stream, node_relay
from millrace.worker.contract.feed import FEED_START
from millrace.worker.contract.ids import START, parse_cursor
from millrace.worker.contract.redis.connection import connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.state import read_state, read_states
from millrace.worker.settings.schema import load

SETTINGS = load()
REDIS = connect(SETTINGS.redis.url)
HUB = Hub(Streams(REDIS), SETTINGS)
if "UNSWEPT" in os.environ:  # a lost message is then noticed by the mechanism under test, or never
    node_relay._SILENT_SECONDS = 3600.0
application = Flask(__name__)


@application.route("/<generation>/events", methods=["GET", "POST"])
def events(generation: str) -> Response:
    state = read_state(Streams(REDIS), generation)
    if state is None:
        return Response(status=404)
    after = parse_cursor(request.headers.get("Last-Event-ID", "")) or START
    environ = dict(request.environ)
    if "yielded" in request.args:  # as with a server whose socket cannot be taken
        del environ["gunicorn.socket"]
    try:
        return event_stream(HUB, environ, state, after)
    except Problem as problem:
        return Response(str(problem), status=503)


@application.get("/many")
def many() -> Response:
    """Follow the generations `g`, each from its start, and the feed of `owner` from its beginning."""
    states = [state for state in read_states(Streams(REDIS), request.args.getlist("g")) if state is not None]
    feed = (request.args["owner"], FEED_START) if "owner" in request.args else None
    try:
        return multiplexed_stream(HUB, request.environ, [(state, START) for state in states], feed)
    except Problem as problem:
        return Response(str(problem), status=503)


@application.get("/<generation>/entries/<float:seconds>")
def entries(generation: str, seconds: float) -> Response:
    after = parse_cursor(request.args.get("after", "")) or START
    found = [[str(entry.cursor), entry.data.decode()] for entry in HUB.entries(generation, after, seconds)]
    return jsonify(found)


@application.get("/statistics")
def statistics() -> Response:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm") as statm:
        pages = int(statm.read().split()[1])
    return jsonify(
        readers=HUB.reader_count,
        watched=HUB.watched(),
        counts=vars(HUB.counts),
        resident=pages * resource.getpagesize(),
        cpu=usage.ru_utime + usage.ru_stime,
        descriptors=len(os.listdir("/proc/self/fd")),
    )


def post_worker_init(worker: Any) -> None:
    HUB.start()


def worker_exit(server: Any, worker: Any) -> None:
    HUB.drain(SETTINGS.worker.shutdown_grace_seconds, worker.notify)
