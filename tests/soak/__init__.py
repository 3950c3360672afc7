"""A running system under random faults, with the invariant of every reader checked all the time."""
