"""Measure ingestion, memory and queries on a real broker, and print the table."""

import typer

from scripts.lab.measure.bench import main

if __name__ == "__main__":
    typer.run(main)
