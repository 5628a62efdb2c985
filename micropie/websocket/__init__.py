"""The WebSocket that a handler holds: its state, its messages, its end."""
