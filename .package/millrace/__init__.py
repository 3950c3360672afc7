"""Millrace streams LLM answers through Flask, Celery and Redis, so that an answer outlives its request."""

__version__ = "0.2.0"

__all__ = ["__version__"]
