"""What Pykka lacks: bounded mailboxes with two lanes, threads by name, and a guardian that restarts what failed.

Imports messages alone. Imported by every room that holds an actor.
"""
