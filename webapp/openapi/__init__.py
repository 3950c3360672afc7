"""The API's description, generated from the routes, the structs that they take and return, and the events.

document    the OpenAPI document, and the `Description` that each route has beside it
typescript  the events' types for front ends; `python -m millrace.webapp.openapi` writes them

Nothing here is written by hand twice: a description that does not match the responses fails the web tier's tests.
"""
