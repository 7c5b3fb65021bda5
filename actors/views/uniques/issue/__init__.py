"""What one process of a cluster publishes for all shards. Imported only in a cluster."""
