"""Chaos runs: faults by plan, a load whose truth is known, and a verifier that imports nothing of the product.

Imported by the command `chaos` alone.
"""
