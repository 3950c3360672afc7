"""What both tiers agree on: ids, keys, events, the log, leases, cancel, the queue, the request, the settings.

The law of this room: no flask, no boto3, no task code; only `keys.py` spells a Redis key; every decision about
a generation is made inside one Lua script of `lua/`, by Redis's own clock.
"""
