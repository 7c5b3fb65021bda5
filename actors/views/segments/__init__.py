"""The view `segments`: each batch has a fixed number of sorted segments. Complete batches are merged to one sorted line."""
