"""The routes: what each view answers, the list of streams, stats, the service itself, and the reload of settings.

Imported by `gateway.app` alone.
"""
