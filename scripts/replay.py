"""Put dead letters back to the topics that they came from."""

from scripts.cli.replay import app

if __name__ == "__main__":
    app()
