"""The sink that writes results to a Kafka topic: its transactions, and the notes by which a start finds its checkpoint."""
