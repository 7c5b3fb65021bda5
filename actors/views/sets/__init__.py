"""Sets: the largest possible number of disjoint sets of one event a step, whose times ascend step by step."""
