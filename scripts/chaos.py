"""Kill, stop and cut off the service under load, and compare every answer with what it must be."""

import typer

from scripts.lab.chaos.chaos import main

if __name__ == "__main__":
    typer.run(main)
