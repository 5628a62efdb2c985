"""MicroPie beside its peers: ``tox -e bench``, or ``python -m benchmarks --help``.

Each figure is a ratio to an ASGI app written by hand, measured in the same moment on the same processor: 1.0 is as
fast as no framework at all. What is measured is in `scenarios`, by whom in `frameworks`, and the rest is how.
"""
