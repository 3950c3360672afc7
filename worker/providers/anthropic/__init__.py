"""Anthropic's Messages API, directly.

`client.py` calls the server; `arguments.py`, `mapping.py` and `errors.py` are pure and translate between Millrace's
types and Anthropic's. Bedrock's InvokeModel has the same bodies and events, so `bedrock_invoke` uses them, too.
"""
