"""Which handler answers, and with which values."""
