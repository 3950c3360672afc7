"""The worker tier; `worker.contract` and `worker.store` are the rooms the web tier may enter.

Importing this package must pull in neither boto3 nor any task code.
"""
