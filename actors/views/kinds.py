"""The registry of views. Every other place finds a view's package, stanza and routes by its name.

Imported by the gateway and by the composition root. docs/adding-a-view.md lists what a new view needs.
"""

from actors.views.segments.view import SegmentsView
from actors.views.sets.view import SetsView
from actors.views.top.view import TopView
from actors.views.uniques.view import UniquesView
from actors.views.view import View
from actors.views.words.view import WordsView

VIEWS: dict[str, type[View]] = {
    "sets": SetsView,
    "top": TopView,
    "segments": SegmentsView,
    "uniques": UniquesView,
    "words": WordsView,
}
"""Every view class by its name in the configuration."""
