"""A private model service: `POST /rlm` with a message, its history and a profile; a whole answer or a stream."""
