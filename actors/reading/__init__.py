"""The parts of the front end: they take polls in, put events in order, cut batches, and pause for a checkpoint.

Imported by the front end alone.
"""
