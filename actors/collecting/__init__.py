"""The manager's parts: the list of collectors, the counts of dropped data, queries and checkpoints in progress.

Imported by the manager; the front end imports `tally`.
"""
