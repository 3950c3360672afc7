"""Where things are found, wherever the routes are mounted."""

from flask import url_for


def generation_url(generation: str) -> str:
    """Return the address of a generation, from the root of this host on."""
    return url_for("millrace.generations.get_generation", generation=generation)


def conversation_url(conversation: str) -> str:
    """Return the address of a conversation, likewise."""
    return url_for("millrace.conversations.get_conversation", conversation=conversation)
