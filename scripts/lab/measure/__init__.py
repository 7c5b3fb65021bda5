"""Benchmarks: the product against the bare consume loop, rivals and earlier figures, in one run.

Imported by the command `bench` alone.
"""
