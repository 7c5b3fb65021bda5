"""Several processes over the same streams: each leases shards, and answers for all.

Imported only if the configuration has a `cluster`.
"""
