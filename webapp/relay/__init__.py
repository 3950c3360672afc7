"""The relay: one pub/sub connection a process, a tail for each log that is followed, readers that are bare sockets.

hub           who follows what; the sweep
subscription  the pub/sub connection
tail          the newest part of a log, shared; delivers it
ring          the frames that it has at hand
repair        reads the log: opens tails, mends holes, brings late readers up
rebuilding    snapshots, and the word that all is lost
frames        bytes
reader, peer  those who follow: by pulling, or at the other end of a socket
handover      takes the socket from gunicorn
stream        the HTTP answer
rights        whether those who follow still may
bundle, many  several streams on one connection
feeds         the owners' feeds
rounds        heartbeats, cutting, draining
"""

from millrace.webapp.relay.hub import Hub
from millrace.webapp.relay.many import many_streams
from millrace.webapp.relay.stream import event_stream, refuse_when_full

__all__ = ["Hub", "event_stream", "many_streams", "refuse_when_full"]
