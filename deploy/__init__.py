"""The two commands, and what they need: an environment, processes, and words for what is missing.

The law of this room: standard library only, because it runs before there is anything else.
"""
