"""Schemas by number from a schema registry: asked for on a thread of their own, kept in memory, waited for by the source."""
