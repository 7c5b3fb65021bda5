"""The command line `firnline …`: what a person types to a running service, and about a configuration.

Imported by the commands alone.
"""
