"""The registry of views."""

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
"""Every view class by its name in the configuration."""
