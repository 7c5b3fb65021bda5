"""The view `uniques`: the number of different users in each minute, hour, day, week, month and year."""
