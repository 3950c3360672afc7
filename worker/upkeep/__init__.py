"""Background tasks of a worker process: lease renewal, sweeping, late storage, the canary and the heartbeat file.

Each survives any failure of Redis or the database, and stops within a bounded time.
"""
