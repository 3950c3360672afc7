"""Other people's protocols over the same log: each file is one dialect, and tells the same events in its words.

The law of this room: a facade parses, translates and nothing else; a generation is made, followed and owned as ever.
"""
