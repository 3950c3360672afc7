"""The API described from what it is made of: the routes, the structs that they take and give, the events.

describing  what a route says of itself, beside it
document    the OpenAPI document, from the app's own routes
typescript  the events' types for front ends; `python -m millrace.webapp.openapi` writes them
routes      where the document is served
"""
