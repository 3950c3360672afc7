"""Bedrock's runtime API: Converse, InvokeModel and their streams, in AWS's event-stream framing."""
