"""Firnline for people who write Python: a client, and the commands."""
