"""`python -m scripts.cli`: the command `firnline` in a checkout."""

from scripts.cli.main import main

if __name__ == "__main__":
    main()
