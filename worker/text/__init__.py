"""Text that users and models write: characters, lines, and the limits of both. Pure.

Every function here takes time linear in the length of its text, whatever the text contains.
"""
