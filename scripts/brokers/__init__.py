"""Kafka brokers on this machine: an embedded one to try Firnline, and a real one to test and measure it.

Imports nothing of the product. Imported by the service, the producer, the laboratory and the tests.
"""
