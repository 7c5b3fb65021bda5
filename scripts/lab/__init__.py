"""The laboratory: the rules of each view (`truth`), measuring, and chaos runs. No part of the installed product.

Imported by the commands `bench` and `chaos` and by the tests.
"""
