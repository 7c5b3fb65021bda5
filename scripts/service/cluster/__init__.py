"""The leases of a cluster, and the shards that this process has. Imported only if the configuration has a `cluster`."""
