"""The launcher Ray: actors that start and supervise processes of a cluster on the nodes of Ray. It needs the extra `ray`."""
