"""Checks that a request passes before its route runs: authentication, CSRF, CORS, rate limits, ownership.

A guard lets the request pass or raises a `Problem`. Rate limit counters are all that a guard writes to Redis; no guard
writes to the database.
"""
