"""Runs: the sorted numbers of a segment. They are compressed, kept in a spool file if they are large, and merged.

Only the segments view imports this folder.
"""
