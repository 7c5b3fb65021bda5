"""The schemas of a stream's records, made from its settings."""
