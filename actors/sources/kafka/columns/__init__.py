"""Reads polls of librdkafka as columns, by its C interface.

Only `memory` and `proofs` touch memory. `proofs` decides whether polls are read as columns.

`actors.sources.kafka.fetch` is the only importer.
"""
