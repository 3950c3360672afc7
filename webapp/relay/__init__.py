"""The relay: one pub/sub connection per process, one tail per followed log, readers that are bare sockets.

Law: an event is encoded once, whatever the number of readers; a reader costs no greenlet and holds no queue, only a
cursor. Every reader gets its log in order, without a hole or a duplicate, or a snapshot that says what the text is.

hub                    which readers follow which log; the sweep
node_relay             the logs of one stream node: their tails, kept in step with Redis
subscription           the pub/sub connection; bulk_reader reads its socket
tail                   the newest part of one log, delivered to its readers; frame_buffer holds its frames
repair, recovery       reading the log for a tail; snapshots and stored answers where the log cannot continue
frames                 an event's bytes on the wire
compression            streams compressed with gzip
reader, socket_reader  the receivers: emptied by a greenlet, or written to on a client's socket
socket_handover        taking the socket from gunicorn, or yielding the bytes where that is impossible
stream, multiplexer    the HTTP responses; several streams on one connection
rendering              logs in other protocols, rendered once for all readers of a dialect
websocket_reader       a receiver that is a WebSocket, with its messages; websocket_frames has its bytes
feeds                  the owners' feeds
places                 limits on what one client holds
counts                 events, bytes and readers so far, for the metrics
heartbeats             heartbeats, stalled readers, draining
authorization          repeated checks that readers are still allowed to follow
"""

from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.stream import ended_stream, event_stream, multiplexed_stream, refuse_when_full

__all__ = ["Hub", "ended_stream", "event_stream", "multiplexed_stream", "refuse_when_full"]
