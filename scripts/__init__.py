"""The commands, thin, each with `--help`, and their rooms: service, cli, produce, brokers and lab."""
