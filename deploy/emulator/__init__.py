"""A local Bedrock endpoint for development and tests: the real wire format, with answers that the caller scripts.

Law: the package imports nothing else of the project, and the product imports nothing of it; it runs as its own process.
Only `http_connection`, `responders`, `endpoint` and `__main__` do I/O; all other modules are pure or only keep state.
"""
