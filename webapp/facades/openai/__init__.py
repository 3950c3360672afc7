"""`/v1`: OpenAI's API, chat completions and responses, over the same log.

A completion's and a response's id is its generation's with a prefix. Every problem has OpenAI's shape and names the
parameter. A parameter that would change the answer and cannot be honoured is refused, never ignored.
"""
