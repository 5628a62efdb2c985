"""MicroPie beside its peers: ``tox -e bench``, or ``python -m benchmarks --help``.

Each figure is a ratio to an ASGI app written by hand, measured in the same moment on the same processor: 1.0 is as
fast as no framework at all. `scenarios` has what a client asks for, `frameworks` and `apps` whom it asks, `sections`
what is measured, `processes` who does it, and `results` the figures, from which the page is made.
"""
