"""State on disk: generation files, manifests, the lock of a data folder. No other room writes or reads these files.

Imported by the stream, by sinks (for the disk) and by the composition root (for the lock).
"""
