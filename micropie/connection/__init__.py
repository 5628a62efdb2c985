"""The way of one connection: a request, a WebSocket, or the lifespan, from the server's call to the last byte."""
