"""Checks of streams at the public address: does the proxy buffer them, compress them, cut them, drop their cursor.

No model is asked for it. The doctor creates a generation of the visitor's in Redis, claims it as a worker does, and
appends its events at a known pace, so that the delay of each event on its way through the proxy is measured.
"""

import statistics
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from deploy.doctor.models import QUESTION, TOKENS, advice_for
from deploy.doctor.report import Finding, failed, ok, warning
from deploy.doctor.site import SUBJECT, Entry, check_identity, check_reachable, enter
from deploy.doctor.visitor import Arrival, Visitor, problem_of
from millrace.worker.contract.cancellation import forget
from millrace.worker.contract.creation import Draft, create, new_ids
from millrace.worker.contract.events import AnyEvent, Cancelled, Chunk, Done, StatusEvent, Usage, encode, kind_of
from millrace.worker.contract.lease import claim, renew_all
from millrace.worker.contract.lifetimes import log_ttl_ms
from millrace.worker.contract.log import Append, append_all
from millrace.worker.contract.redis.connection import Redis, connect
from millrace.worker.contract.redis.streams import Streams
from millrace.worker.contract.request import ModelRequest, PromptMessage
from millrace.worker.settings.schema import Settings

CHUNKS = 8
PACE_SECONDS = 0.25
START_SECONDS = 0.5  # for the reader to connect before the first event
LATE_SECONDS = 1.0
CLEARLY_SECONDS = 0.2
LATE_HEARTBEAT_SECONDS = 5.0
IDLE_SECONDS = 25.0  # most proxies that cut idle streams do it after 30 to 60 s, a careless one earlier
WHOLE_SECONDS = 31.0  # usual limits of a whole response are 15 s (Envoy) and 30 s (API gateways, load balancers)
ANSWER_SECONDS = 30.0
FIRST_SEQ = 2  # `status queued` is 1


def check_url(url: str, headers: dict[str, str], settings: Settings) -> Iterator[Finding]:
    """Yield all findings about an address, in about 35 s."""
    with Visitor(url, headers) as visitor:
        reached = list(check_reachable(visitor))
        yield from reached
        if not any(each.status != "failed" for each in reached):
            return
        found: list[Finding] = []
        entry = enter(visitor, settings, found)
        yield from found
        if entry is None:
            return
        with ThreadPoolExecutor(1) as beside:
            idle = beside.submit(watch_idle, visitor.again(), settings.relay.heartbeat_seconds)
            yield from check_answer(visitor, entry)
            if entry.owner is not None:
                with connect(settings.redis.url, timeout_seconds=2.0) as redis:
                    yield from check_pace(visitor, redis, entry.owner, settings)
            yield from check_identity(visitor, entry)
            yield idle.result()


def check_answer(visitor: Visitor, entry: Entry) -> Iterator[Finding]:
    """Yield how the visitor's own question is answered, by whatever model the worker asks."""
    began = time.monotonic()
    arrivals: list[Arrival] = []
    try:
        with visitor.open_stream(_events_of(entry.generation), ANSWER_SECONDS) as stream:
            if stream.response.status_code != 200:
                stream.response.read()
                yield failed(SUBJECT, f"its events are refused with {problem_of(stream.response)}", "See above.")
                return
            for arrival in stream.arrivals():
                if arrival.event:
                    arrivals.append(arrival)
                if arrival.at - began > ANSWER_SECONDS:
                    break
    except httpx.HTTPError as error:
        found = f"the stream of the answer broke after {time.monotonic() - began:.1f} s: {type(error).__name__}"
        yield failed(SUBJECT, found, "Something on the way ends or holds back streams. The lines below say more.")
        return
    yield judge_answer(began, arrivals)
    if entry.owner is None and arrivals:
        yield _judge_beginning(began, arrivals)


def judge_answer(began: float, arrivals: list[Arrival]) -> Finding:
    """Return how an answer ended, and when its first text came."""
    at = {str((each.event or {}).get("type")): each for each in reversed(arrivals)}  # the first of each type
    if error := at.get("error"):
        code = str((error.event or {}).get("code"))
        if code != "empty_answer":
            found = f"the question ended after {error.at - began:.2f} s with {code}"
            return failed(SUBJECT, found, advice_for(code))
    end, text = at.get("done"), at.get("chunk") or at.get("reasoning")
    if end is None:
        return failed(SUBJECT, f"no answer within {ANSWER_SECONDS:g} s", "See the lines about workers and models.")
    shown = f"first text after {text.at - began:.2f} s, " if text else ""
    return ok(SUBJECT, f"a question is answered: {shown}the end after {end.at - began:.2f} s")


def _judge_beginning(began: float, arrivals: list[Arrival]) -> Finding:
    """Return whether the first event came before the last, where the times of publishing are unknown."""
    first, last = arrivals[0].at - began, arrivals[-1].at - began
    if last - first > CLEARLY_SECONDS:
        return ok(SUBJECT, f"the first event came {last - first:.2f} s before the last")
    if last > START_SECONDS + CLEARLY_SECONDS:
        found = f"all events came within {last - first:.2f} s, {first:.1f} s after the question"
        return warning(SUBJECT, f"streams may be buffered: {found}", _BUFFERING)
    return warning(SUBJECT, "the answer was too fast to tell whether streams are buffered", "See the line above.")


def check_pace(visitor: Visitor, redis: Redis, owner: str, settings: Settings) -> Iterator[Finding]:
    """Publish events at a known pace, and yield how each arrived, and whether the stream resumes at a cursor."""
    answer = PacedAnswer(redis, owner, settings)
    try:
        with ThreadPoolExecutor(1) as beside:
            published = beside.submit(answer.publish)
            with visitor.open_stream(_events_of(answer.generation), ANSWER_SECONDS) as stream:
                arrivals = [each for each in stream.arrivals() if each.event]
            times = published.result()
        if stream.response.status_code != 200:
            return  # the owner's own generation is refused as well, which has a line of its own
        yield from check_headers(stream.response, settings.relay.compression)
        yield judge_pace(times, arrivals)
        if arrivals:
            yield _check_resume(visitor, answer.generation, arrivals)
    except httpx.HTTPError as error:
        advice = "Look for a time limit or a size limit of responses in the proxy."
        yield failed(SUBJECT, f"a stream of {CHUNKS * PACE_SECONDS:g} s broke: {type(error).__name__}: {error}", advice)
    finally:
        forget(Streams(redis), [answer.generation])


class PacedAnswer:
    """A generation that this process answers itself, at a known pace."""

    def __init__(self, redis: Redis, owner: str, settings: Settings) -> None:
        self._redis = redis
        self._settings = settings
        ids = new_ids(question="")
        self.generation = ids.generation
        request = ModelRequest([PromptMessage("user", QUESTION)], settings.default_model, TOKENS)
        create(Streams(redis), Draft(ids, owner, request, "continue", 0.0), settings)
        claimed = claim(Streams(redis), ids.generation, settings)
        assert claimed is not None  # it was never enqueued, so that no worker knows of it
        self._claim = claimed.claim

    def publish(self) -> dict[int, float]:
        """Append all events and return the time of each in monotonic seconds, by its sequence number."""
        events: list[AnyEvent] = [StatusEvent("running", 1)]
        events += [Chunk(f"{number} ") for number in range(CHUNKS)]
        times: dict[int, float] = {}
        time.sleep(START_SECONDS)
        for seq, event in enumerate(events, FIRST_SEQ):
            renew_all(self._redis, [self._claim], self._settings)
            times[seq] = time.monotonic()
            self._append(seq, event)
            time.sleep(PACE_SECONDS)
        self._append(FIRST_SEQ + len(events), Cancelled("user", Usage(exact=False)))
        self._append(FIRST_SEQ + len(events) + 1, Done("cancelled"))
        return times

    def _append(self, seq: int, event: AnyEvent) -> None:
        append = Append(self._claim, seq, kind_of(event), encode(event), is_settled=True)
        append_all(self._redis, [append], log_ttl_ms(self._settings))


def check_headers(response: httpx.Response, compression: str) -> Iterator[Finding]:
    """Yield whether the headers of an event stream arrive as they were sent, with this compression at most."""
    headers = response.headers
    encoding, kind, cache = (headers.get(name, "") for name in ("Content-Encoding", "Content-Type", "Cache-Control"))
    if encoding not in ("", compression):
        advice = (
            "Compression by a proxy holds back events. Turn it off there (nginx: `gzip off`); see MILLRACE_COMPRESSION."
        )
        yield failed(SUBJECT, f"event streams are compressed ({encoding})", advice)
    if not kind.startswith("text/event-stream"):
        yield failed(SUBJECT, f"an event stream has the type {kind or 'none'}", "Browsers refuse it. See the proxy.")
    if "no-transform" not in cache or "no-store" not in cache:
        advice = "Something on the way replaces Cache-Control, so that others may compress or cache streams."
        yield warning(SUBJECT, f"an event stream has Cache-Control: {cache or 'none'}", advice)


def judge_pace(published: dict[int, float], arrivals: list[Arrival]) -> Finding:
    """Return whether events that were published over some time arrived over the same time."""
    arrived = {int(each.cursor.rpartition("-")[2] or 0): each.at for each in arrivals}
    lost = [seq for seq in published if seq not in arrived]
    if lost:
        return failed(SUBJECT, f"{len(lost)} of {len(published)} events of a slow stream did not arrive", _BUFFERING)
    delays = [arrived[seq] - at for seq, at in published.items()]
    times = [arrived[seq] for seq in published]
    sent, received = max(published.values()) - min(published.values()), max(times) - min(times)
    if received < sent / 2:
        found = f"streams are buffered: events of {sent:.1f} s arrived within {received:.2f} s"
        return failed(SUBJECT, f"{found}, up to {max(delays):.1f} s late", _BUFFERING)
    shown = f"{len(published)} slow events arrive {_ms(statistics.median(delays))} late (at most {_ms(max(delays))})"
    if max(delays) > LATE_SECONDS:
        return warning(SUBJECT, shown, "Something on the way holds back events for a time. Look for buffers.")
    return ok(SUBJECT, f"streams are not buffered: {shown}")


_BUFFERING = (
    "Turn the proxy's buffering off for event streams: nginx `proxy_buffering off` (it must not ignore "
    "X-Accel-Buffering); a CDN or gateway may need a switch of its own."
)


_OTHER_HEARTBEAT = (
    "If the web processes have another MILLRACE_HEARTBEAT_SECONDS, run this command with their environment."
)


def _check_resume(visitor: Visitor, generation: str, arrivals: list[Arrival]) -> Finding:
    """Return whether a stream continues after the event that `Last-Event-ID` names."""
    middle = arrivals[len(arrivals) // 2].cursor
    with visitor.open_stream(_events_of(generation), ANSWER_SECONDS, Last_Event_ID=middle) as stream:
        first = next((each.cursor for each in stream.arrivals() if each.event), "")
    expected = int(middle.rpartition("-")[2]) + 1
    if first.endswith(f"-{expected}"):
        return ok(SUBJECT, "a stream resumes where it was left (Last-Event-ID)")
    advice = "The proxy drops the header Last-Event-ID: each reconnect of a browser then gets the whole answer again."
    return failed(SUBJECT, f"a stream that was left at {middle} resumes at {first or 'nothing'}", advice)


def watch_idle(visitor: Visitor, heartbeat_seconds: float) -> Finding:
    """Return whether a stream without events stays open from one heartbeat to the next, and for `WHOLE_SECONDS`."""
    began = last = time.monotonic()
    silence = 0.0  # the longest that the stream has survived
    awaited = min(IDLE_SECONDS, heartbeat_seconds + LATE_HEARTBEAT_SECONDS)
    try:
        with visitor, visitor.open_stream("/api/events?feed=1", awaited) as stream:
            if stream.response.status_code != 200:
                return warning(SUBJECT, f"the owner's feed answers {stream.response.status_code}", "Idle: not checked.")
            for arrival in stream.arrivals():
                silence, last = max(silence, arrival.at - last), arrival.at
                if last - began > WHOLE_SECONDS:
                    shown = f"for {silence:.1f} s until its next heartbeat, and for {last - began:.0f} s in all"
                    return ok(SUBJECT, f"an idle stream stays open {shown}")
    except httpx.ReadTimeout:
        if heartbeat_seconds < IDLE_SECONDS:
            found = f"no heartbeat arrived for {awaited:g} s, and there is one each {heartbeat_seconds:g} s"
            return failed(SUBJECT, found, f"{_BUFFERING} {_OTHER_HEARTBEAT}")
        return ok(SUBJECT, f"an idle stream stays open for {awaited:g} s; heartbeats come each {heartbeat_seconds:g} s")
    except httpx.HTTPError:
        pass  # the same end as that of a response that a proxy completes
    now = time.monotonic()
    return judge_cut(now - began, now - last, silence, heartbeat_seconds)


def judge_cut(whole: float, silent: float, survived: float, heartbeat_seconds: float) -> Finding:
    """Return why a stream was cut after `whole` seconds, the last `silent` ones without data.

    It has survived a silence of `survived` seconds before. If that was longer, silence is not the cause.
    """
    if silent < survived:
        advice = (
            "Raise or remove the proxy's limit of a whole response (Envoy: the route's `timeout`; load balancers and "
            "gateways: the timeout of a request or of the backend). Clients reconnect each time until then."
        )
        return failed(SUBJECT, f"a stream was cut {whole:.1f} s after its beginning, although heartbeats came", advice)
    advice = (
        f"Raise the idle limit of the proxy (nginx: proxy_read_timeout) well above {heartbeat_seconds:g} s, or lower "
        "MILLRACE_HEARTBEAT_SECONDS. Clients reconnect each time until then."
    )
    found = f"an idle stream was cut after {silent:.1f} s without data, {whole:.1f} s after its beginning"
    return failed(SUBJECT, found, advice)


def _events_of(generation: str) -> str:
    return f"/api/generations/{generation}/events"


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms"
