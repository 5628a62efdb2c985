"""Sphinx configuration. Build with ``tox -e docs``; it needs no network."""

from __future__ import annotations

import os
import sys
import warnings
from importlib.metadata import version as installed_version
from pathlib import Path
from urllib.parse import urlsplit

from sphinx.deprecation import RemovedInSphinx10Warning

sys.path.append(str(Path(__file__).parent))  # Where the package of our own extensions is.
from _ext import docstrings

# sphinx-autodoc-typehints 3.6 calls a method that Sphinx 10 will drop; pyproject.toml keeps Sphinx below 10.
warnings.filterwarnings("ignore", category=RemovedInSphinx10Warning)

project = "MicroPie"
author = "The MicroPie authors"
copyright = author
release = installed_version("micropie")
version = ".".join(release.split(".")[:2])

extensions = [
    "_ext.benchmarks",
    "_ext.changelog",
    "_ext.discovery",
    "_ext.docstrings",
    "_ext.package_tables",
    "_ext.peer_tables",
    "_ext.server_tables",
    "_ext.showcase",
    "notfound.extension",
    "sphinx.ext.autodoc",
    "sphinx.ext.intersphinx",
    "sphinx_autodoc_typehints",
    "sphinx_copybutton",
    "sphinx_design",
]

# _install.rst is included by other pages: the one place that names the install commands.
exclude_patterns = ["_build", "_install.rst", "**/templates"]
default_role = "any"
nitpicky = True
highlight_language = "none"

# -- Reference ---------------------------------------------------------------------------------

autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
always_document_param_types = True
always_use_bars_union = True
typehints_document_rtype_none = False
typehints_use_rtype = False
autodoc_mock_imports = ["playwright"]  # Of which the reference only names the pages.
typehints_formatter = docstrings.typehints_formatter
typehints_fixup_module_name = docstrings.typehints_fixup_module_name
suppress_warnings = ["config.cache"]  # Sphinx cannot cache a setting that is a function, and need not.

# The inventories are committed, so that a build without a network has the same links.
intersphinx_mapping = {
    "httpx": ("https://www.python-httpx.org", "_inventories/httpx.inv"),
    "jinja": ("https://jinja.palletsprojects.com/en/stable", "_inventories/jinja.inv"),
    "python": ("https://docs.python.org/3", "_inventories/python.inv"),
}

# -- Look --------------------------------------------------------------------------------------

html_theme = "furo"
html_title = "MicroPie"
html_favicon = "favicon.svg"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = [("site.js", {"defer": "defer"})]
templates_path = ["_templates"]
html_show_copyright = False
html_show_sphinx = False
html_copy_source = False
html_domain_indices = False

# Read the Docs says where the pages will be. Only then can they name their own address, as a sitemap must.
html_baseurl = os.environ.get("READTHEDOCS_CANONICAL_URL", "")
notfound_urls_prefix = urlsplit(html_baseurl).path or "/"  # The page 404 is shown at any depth.
html_context = {
    "base_url": html_baseurl,
    "mark": Path(__file__).with_name("favicon.svg").read_text(encoding="utf-8"),
}

pygments_style = "github-light-high-contrast"
pygments_dark_style = "github-dark-high-contrast"
html_theme_options = {
    "light_css_variables": {
        "color-brand-primary": "#9b2743",
        "color-brand-content": "#9b2743",
        "color-brand-visited": "#7a3b6e",
        "color-foreground-primary": "#211a1c",
        "color-foreground-secondary": "#5b5053",
        "color-foreground-muted": "#6d6165",
        "color-background-secondary": "#faf7f5",
        "color-background-hover": "#f3ece9",
        "color-background-hover--transparent": "#f3ece900",
        "color-background-border": "#e8dfdc",
        "color-code-background": "#faf7f5",
        "color-api-background": "#faf7f5",
        "color-api-name": "#9b2743",
        "color-api-pre-name": "#6d6165",
        "color-highlight-on-target": "#fdf0d5",
        "color-highlighted-background": "#fbe3b5",
    },
    "dark_css_variables": {
        "color-brand-primary": "#f497ab",
        "color-brand-content": "#f497ab",
        "color-brand-visited": "#d8a4d0",
        "color-foreground-primary": "#dcd5d6",
        "color-foreground-secondary": "#aca3a5",
        "color-foreground-muted": "#968c8f",
        "color-background-primary": "#151214",
        "color-background-secondary": "#1c181a",
        "color-background-hover": "#262023",
        "color-background-hover--transparent": "#26202300",
        "color-background-border": "#3a3236",
        "color-code-background": "#1c181a",
        "color-api-background": "#1c181a",
        "color-api-name": "#f497ab",
        "color-api-pre-name": "#968c8f",
        "color-highlight-on-target": "#3a2c14",
        "color-highlighted-background": "#5a4213",
    },
}

# Copy what a reader types: the command without its prompt, and never its output.
copybutton_prompt_text = "$ "
copybutton_only_copy_prompt_lines = True
