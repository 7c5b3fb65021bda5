"""Dead letters: read from their topic, and put back to the topics that they came from."""
