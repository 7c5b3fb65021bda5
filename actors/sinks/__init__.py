"""The writers of results, dead letters and posted records: an actor each, and the clients that they own.

Imported by the stream, and by the composition root, which makes the sinks.
"""
