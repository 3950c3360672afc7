"""The settings of both tiers: declared once, read once from the environment, checked before anything starts."""
