"""Ask a running service from the terminal."""

from scripts.cli.query import app

if __name__ == "__main__":
    app()
