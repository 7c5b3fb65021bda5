"""Sets with a limit: the last event of a set is at most `within` after its first."""
