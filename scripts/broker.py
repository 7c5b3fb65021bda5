"""Run a Kafka broker on loopback until Ctrl-C: the embedded one, or a real one from Maven's jars."""

from scripts.brokers.broker import app

if __name__ == "__main__":
    app()
