"""Segments: the sorted parts of a batch, which come in any order, merged to one sorted line once all have come."""
