"""The Sphinx extensions of this site; ``conf.py`` lists them."""
