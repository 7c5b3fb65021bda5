"""Funnel: the events of each key as sequences of steps, in order of time and within a limit."""
