"""A WebSocket at `/api/ws`, on which any number of generations are created, followed, resumed and cancelled.

The rule of this package: a message is handled as a request of its own would be, with the same limits and rights. The
relay writes to the socket (`relay/websocket_reader.py`), so that an idle one costs no greenlet.
"""
