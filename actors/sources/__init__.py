"""Where records come from: Kafka, files, pipes and programs, behind the contract in `source`.

Imported by the front end and its parts (the contract) and by the composition root (which source).
"""
