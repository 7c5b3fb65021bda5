"""Run a Kafka broker on loopback until Ctrl-C: the embedded one, or a real one from Maven's jars."""

import typer

from scripts.brokers.embedded import embedded
from scripts.brokers.real import real

app = typer.Typer(add_completion=False, help="Run a Kafka broker on loopback until Ctrl-C.")
app.command()(embedded)
app.command()(real)

if __name__ == "__main__":
    app()
