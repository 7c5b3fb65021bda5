"""The topic by key of a stream: made, written in transactions of the lease group, and read. Imported only with `by_key`."""
