"""Values as columns, and state as bytes. Pure: no clock, no disk, no thread.

Imported by every room of actors/; imports none of them.
"""
