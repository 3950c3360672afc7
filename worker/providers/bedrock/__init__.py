"""Amazon Bedrock through ConverseStream and Converse.

`client.py` calls boto3; `arguments.py`, `mapping.py` and `errors.py` are pure and translate between Millrace's types
and Bedrock's; `wire.py`, `chunked_encoding.py` and `event_stream.py` read a response's bytes.
"""
