"""Amazon Bedrock through InvokeModelWithResponseStream and InvokeModel, with Anthropic's bodies and events.

`client.py` is all there is: the bodies are `anthropic`'s, the connection and the event stream are `bedrock`'s.
"""
