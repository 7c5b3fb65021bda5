"""The next wake-ups of a front end: at most one `Poll` and one `Watch` are under way to itself."""

from actors.messages import FrontEndMessage, Poll, Watch
from actors.runtime.actor import Actor


class Alarm:
    """Sends `Poll` and `Watch` to `front_end`, its owner, and sends none of a kind before the last one has arrived."""

    def __init__(self, front_end: Actor[FrontEndMessage]) -> None:
        self._front_end = front_end
        self._next: dict[type[Poll | Watch], Poll | Watch] = {}

    def set(self, message: Poll | Watch, *, in_s: float = 0.0) -> None:
        """Send `message` in `in_s` seconds, unless one of its kind is under way."""
        if type(message) in self._next:
            return
        self._next[type(message)] = message
        if in_s > 0:
            self._front_end.later(in_s, self._front_end.address, message)
        else:
            self._front_end.send(self._front_end.address, message)

    def arrived(self, message: Poll | Watch) -> bool:
        """Note that `message` has arrived. Returns False if it was forgotten, and must have no effect."""
        if self._next.get(type(message)) is not message:
            return False
        del self._next[type(message)]
        return True

    def forget_poll(self) -> None:
        """Have the `Poll` that is under way have no effect. It may also have been lost in a failure."""
        self._next.pop(Poll, None)
