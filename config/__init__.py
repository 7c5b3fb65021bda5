"""The configuration: typed, from YAML, environment and command line. Imported by scripts alone; imports nothing of ours."""
