"""HTTP: turns requests into messages to the actors, and their replies into responses.

Sees the engine through `actors.replies`, and of the views the contract and what `tests/house/test_layers.py` lists.
"""
