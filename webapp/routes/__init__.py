"""The native HTTP routes: one file per resource, each with a blueprint named `routes`.

A route parses the request, calls the room that does the work, and renders the response. It makes no decision about a
generation itself.
"""
