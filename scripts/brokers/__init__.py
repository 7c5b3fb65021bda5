"""Kafka brokers on this machine, for trying out, measuring and testing. Imports nothing of the product.

Imported by the commands, the laboratory and the tests.
"""
