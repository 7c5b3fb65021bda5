"""The generations of a stream that one shard matches: written to a topic by the matcher, and read by the other shards.

Imported only if a cluster has such a stream, and more than one shard.
"""
