"""The settings under which an answer is one model call and nothing follows it, for tests that are not about that."""

# A test is one user who asks much and comes back often.
UNLIMITED = {
    "rate_limit": "off",
    "address_rate_limit": "off",
    "follow_rate_limit": "off",
    "max_active_per_user": 1_000_000,
}
BARE: dict[str, object] = {"titles": 0, "suggestions": 0, "learning": 0, **UNLIMITED}
