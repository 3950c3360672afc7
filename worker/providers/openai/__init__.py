"""OpenAI's API, Chat Completions and Responses, as OpenAI itself and many other servers offer it.

`client.py` calls the server; `arguments.py`, `chat.py`, `responses.py` and `errors.py` are pure and translate between
Millrace's types and OpenAI's.
"""
