"""A running system under random faults; the invariant of every reader is checked all the time."""
