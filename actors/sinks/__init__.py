"""Where records go: results, dead letters and posted records, and the actors that write them.

Imported by the stream and by the composition root (which sink).
"""
