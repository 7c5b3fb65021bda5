"""Why an event stands in a set, or in none.

A slice tells which of its pieces may have sets with the event, and how many such events stand in no set. The pieces are opened
when the answer is written.
"""
