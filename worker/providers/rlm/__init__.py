"""An upstream service of your own: one POST with message, history and profile; a whole answer, or a stream.

`client.py` calls the service; `fields.py` is pure, and knows how the service names the parts of question and answer.
"""
