"""The view `top`: the ids with the largest values, the last value of an id wins."""
