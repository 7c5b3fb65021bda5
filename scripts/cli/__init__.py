"""The command line `firnline …`: commands that start, ask and watch a service, and explain a configuration.

Imported by the commands alone.
"""
