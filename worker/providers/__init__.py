"""The models' side: one file a provider, each behind the protocol of `protocol.py`; nothing here writes a log."""
