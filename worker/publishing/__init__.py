"""From deltas to the log: the batcher, one outbox per generation, and one log writer per process.

`batching` is pure. Only `writer` appends to the logs of running generations; it repeats each append until Redis
acknowledges it or the lease is lost.
"""
