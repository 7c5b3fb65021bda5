"""The command `firnline init`: from the newest records of a topic to a configuration that reads them."""
