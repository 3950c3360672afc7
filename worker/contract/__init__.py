"""The agreement between the web tier and the worker tier: ids, keys, events, the log, leases, cancelling, the queue.

The law of this room: no Flask, no provider, no task code; only `keys.py` spells a Redis key; each decision about a
generation is made inside one Lua script of `lua/`, by Redis's clock.

A generation:

ids, keys, lifetimes     ids and cursors; every key in Redis; every lifetime and deadline
request, profile         what the model is asked; what a user says about themselves
response_format          the JSON schema that an answer must fit
events, transcript       the events of a log; their fold into an answer

Its life:

creation                 created in idempotent steps, or withdrawn
conversation_lock        at most one runs in a conversation
active_generations       a limited number of them runs for an owner or an address
queue, waiting           from the web tier to a worker; how long the oldest one waits
lease, log               claimed, renewed, reclaimed and released by a worker, which appends its events
state                    its state as other processes see it
cancellation             cancelled, or forgotten
sweep                    found when no worker holds it
pending_storage          ended, and perhaps not in the database

Owners and processes:

feed, owner_keys         what starts, ends and changes for an owner; all keys of an owner
presence, retention      the workers that are alive; the turn to delete expired data
breaker                  the circuit breaker of each provider's model

Redis:

redis/                   the connections: to one server, a cluster, or several nodes
scripts                  the scripts of `lua/`: loaded, and run in one round trip
"""
