"""A topic by key: each shard forwards the records of its partitions to the shards of their keys.

Imported only for a stream with `by_key` in a cluster.
"""
