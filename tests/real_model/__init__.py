"""The whole system with a real model on the CPU: only `deploy/test.py --real-model` runs it."""
