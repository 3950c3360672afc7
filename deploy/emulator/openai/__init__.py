"""OpenAI's API: chat completions, responses and the list of models, as JSON and as server-sent events."""
