"""Uniques: how many different users each minute, hour, day, week, month and year has."""
