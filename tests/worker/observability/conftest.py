"""The fixtures of the contract's tests: a real Valkey, emptied before each test."""

from tests.worker.contract.conftest import redis, valkey

__all__ = ["redis", "valkey"]
