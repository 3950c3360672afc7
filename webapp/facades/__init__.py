"""Foreign protocols over the same log; one file or folder per protocol.

The rule of this package: a facade is three pure parts, parse (their request to ours), render (our events to theirs)
and errors (ours under their field names). It touches no Redis key; it creates and follows generations as our API does.
"""
