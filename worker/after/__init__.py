"""Calls of the small model that follow a complete answer: the title, the suggestions, and learning.

The law of this room: the answer never depends on these calls. A call that fails, hangs or is switched off neither
changes the answer nor delays its `done` beyond `MILLRACE_AFTER_SECONDS`.
"""
