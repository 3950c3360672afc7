"""Settings for one model call per answer, without hooks, for tests of other things."""

# A test is one user who asks much and comes back often.
UNLIMITED = {
    "rate_limit": "off",
    "address_rate_limit": "off",
    "follow_rate_limit": "off",
    "max_active_per_user": 1_000_000,
}
BARE: dict[str, object] = {"titles": 0, "suggestions": 0, "learning": 0, **UNLIMITED}
