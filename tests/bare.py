"""Settings of the systems that tests start: without limits on requests, and without calls beside the answer."""

from millrace.worker.settings import parsers
from millrace.worker.settings.schema import declared, name_of

_RATES = [name_of(each) for _, each in declared() if each.metadata["parse"] is parsers.rates]

# All users of a test come from one address.
ANY_ADDRESS: dict[str, object] = {
    **{name: "off" for name in _RATES if name.startswith("address_") or name == "new_owner_rate_limit"},
    "max_active_per_address": 1_000_000,
    "max_readers_per_address": 1_000_000,
}
# A test is one user who asks much and comes back often.
UNLIMITED: dict[str, object] = {
    **dict.fromkeys(_RATES, "off"),
    **ANY_ADDRESS,
    "max_active_per_user": 1_000_000,
    "max_readers_per_user": 1_000_000,
}
BARE: dict[str, object] = {"titles": 0, "suggestions": 0, "learning": 0, **UNLIMITED}
