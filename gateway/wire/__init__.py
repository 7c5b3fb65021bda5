"""Between the socket and the routes: HTTP within limits, tokens, and compression. Imported by the composition root."""
