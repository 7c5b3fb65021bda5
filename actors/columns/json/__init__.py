"""JSON records of one shape, read as columns: no object a record. Used by decoders; each keeps its parser for other records."""
