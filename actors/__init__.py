"""The engine: actors that consume a stream, order it by time, and keep its answers in memory."""
