"""sse-starlette over redis.asyncio, as its examples have it, on uvicorn with uvloop."""
# pyright: reportMissingImports=false, reportUnknownParameterType=false, reportUntypedFunctionDecorator=false

import os
from collections.abc import AsyncIterator

import redis.asyncio as redis
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

client = redis.Redis.from_url(os.environ["REDIS_URL"], max_connections=100_000, decode_responses=True)


async def events(request: Request) -> EventSourceResponse:
    """Follow a channel."""

    async def stream() -> AsyncIterator[ServerSentEvent]:
        async with client.pubsub(ignore_subscribe_messages=True) as pubsub:
            await pubsub.subscribe(request.path_params["channel"])
            yield ServerSentEvent(comment="open")
            async for message in pubsub.listen():
                cursor, _, data = message["data"].partition(" ")
                yield ServerSentEvent(data, id=cursor)

    return EventSourceResponse(stream(), sep="\n")


app = Starlette(routes=[Route("/{channel}/events", events)])
