"""Vercel's AI SDK: its `useChat` sends a chat's messages, and follows the answer as a UI message stream.

The rule of this package: a chat of the SDK is a conversation of ours, and a message's parts are a function of the log.
The SDK's own sources are the reference: its client rejects a stream with a part that its schema does not have.
"""
