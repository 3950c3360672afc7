"""What follows a whole answer, by the small model: the conversation's title, what to ask next, what to remember.

The law of this room: none of it is needed for the answer. What fails, hangs or is switched off here stops nothing.
"""
