"""`firnline config check`, `explain` and `schema`: what a configuration means, setting by setting and for this machine.

Imported by the command line alone.
"""
