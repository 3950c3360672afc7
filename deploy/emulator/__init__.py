"""A local endpoint for development and tests: vendors' real wire formats, with answers that the caller scripts.

Law: the package imports nothing else of the project, and the product imports nothing of it; it runs as its own process.
The modules here know no vendor; each vendor's wire is a folder, and `wire` is the seam between them.
Only `http_connection`, `responders`, `endpoint` and `__main__` do I/O; all other modules are pure or only keep state.
"""
