"""The checkpoint topic of a cluster: the files of a shard's checkpoints as records, for a process that has no folder in common.

Imported only with the setting `cluster.checkpoints: topic`.
"""
