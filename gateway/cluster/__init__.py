"""The requests between the processes of a cluster, over HTTP. Imported only if the configuration has a `cluster`."""
