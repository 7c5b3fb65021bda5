"""What the manager is made of: the list of collectors, the counts of what is gone, queries and checkpoints in progress.

Imported by the manager; the front end imports `tally`.
"""
