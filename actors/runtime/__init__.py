"""The runtime on Pykka: bounded mailboxes with two lanes, threads by name, and a guardian that restarts failed actors.

Imports messages only. Imported by every room that holds an actor.
"""
