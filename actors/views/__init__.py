"""The views: what Firnline can answer of a stream. Pure; they know the timeline and nothing of actors."""

from actors.views.sets.view import SetsView

VIEWS = {"sets": SetsView}
"""Every view by the name that the configuration gives it."""
