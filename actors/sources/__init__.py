"""The sources of records: Kafka, files, pipes and programs, behind the contract in `source`.

Imported by the front end and its parts (the contract only), and by the composition root, which makes the source.
"""
