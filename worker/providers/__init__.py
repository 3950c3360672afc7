"""Model providers, each behind the protocol in `protocol.py`, in one folder per wire.

A provider owns its wire format, its error mapping and its knowledge of models. It calls the model once and never
writes to a log; retries are in `retry.py`. `stub.py` is the test double that the contract tests run beside it.
"""
