"""Calls of the real providers, which cost money: only `deploy/test.py --live` makes them."""
