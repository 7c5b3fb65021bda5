"""The registry of views. Every other place finds a view's package, stanza and routes by its name.

Imported by the gateway and by the composition root. docs/adding-a-view.md lists what a new view needs.
"""

from collections.abc import Iterator, Mapping
from importlib import import_module

from actors.views.view import View

_CLASSES = {
    "sets": "SetsView",
    "top": "TopView",
    "segments": "SegmentsView",
    "uniques": "UniquesView",
    "words": "WordsView",
    "funnel": "FunnelView",
}
"""The name of each view's class, by the view's name. The class is in the file `view` of the package of that name."""


class _Views(Mapping[str, type[View]]):
    """Imports the package of a view when its class is first asked for: a service needs those of its streams alone."""

    def __getitem__(self, name: str) -> type[View]:
        """Return the class of a view. Raises KeyError if there is no view of that name. Cost: 5 to 10 ms at first."""
        own = _CLASSES[name]
        found: type[View] = getattr(import_module(f"actors.views.{name}.view"), own)
        return found

    def __iter__(self) -> Iterator[str]:
        """Iterate over the names."""
        return iter(_CLASSES)

    def __len__(self) -> int:
        """Return the number of views."""
        return len(_CLASSES)


VIEWS: Mapping[str, type[View]] = _Views()
"""Every view class by its name in the configuration."""
