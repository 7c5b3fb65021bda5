"""Figures of many values at once: counts, rates and exact percentiles by bucket of time. Pure."""
