"""A stream whose events one shard matches, while the other shards hold its older generations: imported only in a cluster.

The matcher gives generations away once they are in the topic of the shelves. A librarian answers from both.
"""
