"""The command ``micropie``: examples, an app that is served, its routes."""
