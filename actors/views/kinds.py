"""The registry of views: every view by the name that the configuration gives it."""

from typing import Any

from actors.views.segments.view import SegmentsView
from actors.views.sets.view import SetsView
from actors.views.top.view import TopView
from actors.views.uniques.view import UniquesView
from actors.views.words.view import WordsView

VIEWS: dict[str, Any] = {
    "sets": SetsView,
    "top": TopView,
    "segments": SegmentsView,
    "uniques": UniquesView,
    "words": WordsView,
}
"""Every view by the name that the configuration gives it."""
