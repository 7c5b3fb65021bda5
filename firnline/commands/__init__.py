"""The commands of `firnline`."""
