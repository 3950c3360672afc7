"""The probe of a stream node: asks it every second whether it answers, so that no request has to find out."""

import time

from redis.exceptions import RedisError

from millrace.worker.contract.redis.cluster_map import ClusterMap, text_of
from millrace.worker.contract.redis.connection import connect, place_of
from millrace.worker.contract.redis.named_client import describe
from millrace.worker.contract.redis.streams import CONTROL, NodeStatus, Streams
from millrace.worker.observability.logs import get_logger
from millrace.worker.settings.schema import Settings

PROBE_SECONDS = 1.0
REPLY_SECONDS = 1.0

_log = get_logger(__name__)


class NodeProbe:
    """Sets the status of one node, with a connection of its own. The process calls `probe` every `PROBE_SECONDS`.

    Of a cluster it asks every server that the process's map knows.
    """

    def __init__(self, name: str, url: str, status: NodeStatus) -> None:
        self._node = name
        self._place = place_of(url)
        self._status = status
        self._redis = connect(
            url, f"stream node {name}", timeout_seconds=REPLY_SECONDS, retries=0, connections=1, cluster=status.cluster
        )

    def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    def probe(self) -> None:
        """Ask the node once."""
        if self._status.cluster is not None:
            self._check(self._status.cluster)
            return
        try:
            self._redis.ping()
        except RedisError as error:
            if self._status.down_since is None:
                self._status.down_since = time.monotonic()
                self._report_down(self._place, error)
            return
        if self._status.down_since is not None:
            seconds = time.monotonic() - self._status.down_since
            self._status.down_since = None
            self._report_up(self._place, seconds)

    def _check(self, cluster: ClusterMap) -> None:
        lost, back = cluster.check()
        for place, error in lost.items():
            self._report_down(text_of(place), error)
        for place, seconds in back.items():
            self._report_up(text_of(place), seconds)
        if not cluster.is_away:
            self._status.down_since = None
        elif self._status.down_since is None:
            self._status.down_since = time.monotonic()

    def _report_down(self, place: str, error: Exception) -> None:
        _log.error("stream_node_down", node=self._node, place=place, error=describe(error))

    def _report_up(self, place: str, seconds: float) -> None:
        _log.warning("stream_node_up", node=self._node, place=place, seconds=round(seconds, 1))


def make_probes(settings: Settings, streams: Streams) -> list[NodeProbe]:
    """Return a probe for each node but the control Redis, which has no substitute."""
    urls = dict(settings.redis.stream_nodes)
    return [NodeProbe(node.name, urls[node.name], node.status) for node in streams.nodes if node.name != CONTROL]
