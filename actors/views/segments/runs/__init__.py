"""Runs of numbers and of text: sorted, sealed, merged, and kept in a spool file if they are large.

Imported by the segments view alone.
"""
