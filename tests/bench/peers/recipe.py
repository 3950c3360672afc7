"""The usual recipe: Flask under gunicorn's gevent worker, and a redis-py PubSub for each reader."""
# pyright: reportMissingImports=false, reportOptionalMemberAccess=false, reportArgumentType=false

import os
from collections.abc import Iterator

import redis
from flask import Flask, Response

app = Flask(__name__)
client = redis.Redis.from_url(os.environ["REDIS_URL"], max_connections=100_000)


@app.get("/<channel>/events")
def events(channel: str) -> Response:
    """Follow a channel."""

    def stream() -> Iterator[bytes]:
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        pubsub.subscribe(channel)
        try:
            yield b": open\n\n"
            for message in pubsub.listen():
                cursor, _, data = message["data"].partition(b" ")
                yield b"id: %b\ndata: %b\n\n" % (cursor, data)
        finally:
            pubsub.close()

    return Response(stream(), mimetype="text/event-stream")
