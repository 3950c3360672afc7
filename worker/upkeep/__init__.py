"""Background tasks of a worker process: lease renewal, sweeping, late storage, the canary and the heartbeat file.

Each runs in one greenlet, survives any failure of Redis or the database, and stops within bounded time.
"""
