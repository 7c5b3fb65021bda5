"""The sink that writes results to a file: the lines that are ours, the log of writes, the names, and the lock."""
