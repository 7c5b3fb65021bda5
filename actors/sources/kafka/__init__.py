"""The source of Kafka records: the client, where each partition ends, whether brokers answer, and what cannot be read.

The composition root makes it. The command line reads its settings.
"""
