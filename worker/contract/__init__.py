"""The agreement between the web tier and the worker tier: ids, keys, events, the log, leases, cancelling, the queue.

The law of this room: no Flask, no provider, no task code; only `keys.py` spells a Redis key; each decision about a
generation is made inside one Lua script of `lua/`, by Redis's clock.
"""
