"""Anthropic's Messages API: `POST /v1/messages`, as a stream with named events or as one message.

Law: `message_events` maps an answer to events without any framing; Bedrock's InvokeModel frames the same events.
"""
