"""The live page: its files, and the events that it gets twice a second. Imported by `gateway.app`."""
