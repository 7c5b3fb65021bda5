"""A port of loopback that passes connections on to another one while it is open, and refuses them while it is closed."""

import contextlib
import socket
import threading
from collections.abc import Iterator

from scripts.brokers.process import free_port


class Gate:
    """Passes whole requests on to `port`: one connection, one request, one response. It is closed at first."""

    def __init__(self, port: int) -> None:
        self._to = port
        self.port = free_port()
        self._listening: socket.socket | None = None
        self.connections = 0

    def open(self) -> None:
        """Let connections through."""
        self._listening = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._serve, args=(self._listening,), daemon=True).start()

    def close(self) -> None:
        """Refuse connections."""
        if self._listening is not None:
            self._listening.shutdown(socket.SHUT_RDWR)
            self._listening.close()
            self._listening = None

    def _serve(self, listening: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = listening.accept()
                self.connections += 1
                threading.Thread(target=self._pass_on, args=(client,), daemon=True).start()

    def _pass_on(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._to)) as server:
            back = threading.Thread(target=_copy, args=(server, client), daemon=True)
            back.start()
            _copy(client, server)
            back.join()


def _copy(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while block := source.recv(1 << 16):
            target.sendall(block)
        target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def gate(port: int) -> Iterator[Gate]:
    """Yield a closed gate to a port. It is closed at the end."""
    made = Gate(port)
    try:
        yield made
    finally:
        made.close()
