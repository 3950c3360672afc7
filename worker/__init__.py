"""The worker tier; `millrace.worker.contract` and `millrace.worker.store` are the rooms the web tier may enter.

Importing this package must pull in neither boto3 nor any task code.
"""
