"""The sources of records: Kafka, files, pipes and programs, behind the contract in `source`.

The front end and its parts import the contract only. The composition root makes the source.
"""
