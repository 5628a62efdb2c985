"""The same small app once for each framework, written as its own documentation would write it."""
