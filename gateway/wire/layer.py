"""The base class of the ASGI layers around the routes."""

from starlette.types import ASGIApp, Receive, Scope, Send


class Layer:
    """An ASGI application around `app`. It handles HTTP requests, and passes on start and end of the service (lifespan)."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle an HTTP request, or pass anything else on."""
        if scope["type"] == "http":
            await self.handle(scope, receive, send)
            return
        assert scope["type"] == "lifespan", "the server accepts no WebSockets"
        await self.app(scope, receive, send)

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one HTTP request."""
        raise NotImplementedError
