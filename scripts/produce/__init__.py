"""The producer: patterns of records, and how they are sent. Imports nothing of the product.

Imported by the commands and the laboratory.
"""
