"""Amazon Bedrock by ConverseStream and Converse: arguments, the wire, the mapping to deltas, the mapping of errors."""
