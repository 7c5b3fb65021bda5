"""Words: how often each type of event and each word occurred, in any range of seconds."""
