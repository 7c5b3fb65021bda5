"""The routes of single records of a stream's topic: the newest ones, and those that were refused and kept as dead letters."""
