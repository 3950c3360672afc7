"""Logs and metrics of both tiers: JSON log lines, and the metrics that processes share through Redis.

No log field and no metric label may hold a user's text; labels have bounded cardinality.
"""
