"""What the front end is made of: how it takes a poll in, puts it in order, cuts batches, and pauses for a checkpoint.

Imported by the front end alone.
"""
