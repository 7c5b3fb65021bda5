"""Reads polls of librdkafka as columns, by its C interface. `memory` alone touches memory; `proofs` decides whether it may.

`actors.sources.kafka.fetch` is the only importer.
"""
