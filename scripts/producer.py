"""Send records to Kafka, or to standard output, in one of the patterns."""

import typer

from scripts.produce.producer import main

if __name__ == "__main__":
    typer.run(main)
