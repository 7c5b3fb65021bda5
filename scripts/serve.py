"""Start the service: consume the configured streams and answer over HTTP, until Ctrl-C."""

from scripts.service.importing import importing

with importing():
    import typer

    from scripts.service.serve import main

if __name__ == "__main__":
    typer.run(main)
