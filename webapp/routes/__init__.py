"""The native HTTP routes: one file per resource, each with a blueprint called `routes`.

A route parses the request, calls the room that does the work and renders the answer; it holds no logic of its own.
"""
