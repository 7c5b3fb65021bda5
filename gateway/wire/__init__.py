"""Between the socket and the routes: bytes to requests within limits, who may ask, and answers made smaller."""
