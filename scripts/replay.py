"""Put dead letters back to the topics that they came from."""

import typer

from scripts.cli.replay import replay

if __name__ == "__main__":
    typer.run(replay)
