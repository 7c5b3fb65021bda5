"""The commands: thin, each with `--help`. They put the layers together and know them all."""
