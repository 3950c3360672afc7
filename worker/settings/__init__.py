"""The settings of both tiers: declared once, read once from the environment, checked before either tier starts.

The law of this room: only here is the environment read. A bad, unknown or contradictory setting stops the start, and
the error names the variable and what it takes.
"""
