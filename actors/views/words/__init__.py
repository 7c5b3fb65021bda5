"""The view `words`: the number of occurrences of each type of event and of each word, in any range of seconds."""
