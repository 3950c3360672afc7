"""From deltas to the log: batching, the outbox of each generation, and the one writer of the process.

`batching` is pure. Only `writer` appends to logs; it retries until Redis has confirmed each event or the lease is lost.
"""
