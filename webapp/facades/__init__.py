"""Foreign protocols over the same log; one file per protocol.

The law of this room: a facade is three pure parts, parse (their request to ours), render (our events to theirs) and
errors (ours under their names). It touches no Redis key; generations are created, followed and owned as over our API.
"""
