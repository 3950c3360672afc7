"""The data that Millrace holds of one owner: its export, its deletion, and its deletion by age.

The law of this room: each step may be repeated, so that whatever was interrupted is completed by the next call.
"""
