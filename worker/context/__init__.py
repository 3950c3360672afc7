"""From a generation's request to the prompt that a model is asked."""
