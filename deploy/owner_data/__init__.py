"""The data of one owner, `deploy/data.py`.

The law of this room: it runs in the environment, so it may import both tiers; it reads nothing of another owner.
"""
