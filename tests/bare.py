"""The settings under which an answer is one model call and nothing follows it, for tests that are not about that."""

BARE = {"titles": 0, "suggestions": 0}
