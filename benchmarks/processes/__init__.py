"""The processes that take part: those that run an app, and the one whose clients keep a server busy."""
