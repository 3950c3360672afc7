"""Searching the web for an answer: engines behind one protocol, and the rule that says when."""
