"""Generations as the web tier handles them: validate a request, create the generation, render it as JSON.

Each step of creating is idempotent by the generation's id, and is undone when the queue refuses the task.
"""
