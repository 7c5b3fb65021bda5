"""Records by schemas: Avro and Protobuf, plain or with the frame of a schema registry. Pure.

A schema decodes a record; the values that JSON Pointers name are given as the bytes of JSON values, as those of JSON records.
"""
