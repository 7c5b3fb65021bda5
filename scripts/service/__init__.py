"""The composition root: it reads the configuration, builds the actors and the gateway, runs them and stops them.

Knows every layer. Imported by the commands alone.
"""
