"""Web search as a context source: engines behind one protocol, and the rule for `"auto"`.

An engine returns plain text and links with http or https only. The rule looks at the question's words alone, without
I/O, and prefers not to search when in doubt.
"""
