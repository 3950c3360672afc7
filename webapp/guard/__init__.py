"""Checks that a request passes before a route runs: authentication, CSRF, CORS, rate limits, ownership.

A guard either lets the request pass or raises a `Problem`. No guard writes to Redis or to the database, but for counters.
"""
