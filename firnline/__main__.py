"""`python -m firnline`: the command, where it is not installed."""

from firnline.commands.main import main

if __name__ == "__main__":
    main()
