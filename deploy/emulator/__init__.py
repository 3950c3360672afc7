"""A local Bedrock endpoint that speaks the real wire format and answers as its caller scripts it.

The law of this room: it imports nothing of the project's other rooms, and nothing imports it; it is a process of its
own. No I/O outside `server`, `player`, `whole` and `__main__`: what is answered is decided by pure functions.
"""
