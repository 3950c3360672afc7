"""`/v1/responses`: OpenAI's Responses API over the same log.

A response's id names a generation of any protocol; its sequence numbers are positions in the rendering of the log, so
that any process resumes a stream. Nothing else is kept than what our own API keeps.
"""
