"""The frame of the gallery: the cards of the examples, the head of each one's page, and its zip.

``.. gallery::`` is the grid of cards; its content is a field list of names and sentences. ``.. showcase::`` on an
example's own page shows the pictures ``light.webp`` and ``dark.webp``, which the browser tests write, and the links;
``:alt:`` says what can be seen. A zip holds the folder as the reader sees it on the page: everything but the page and
the pictures.
"""

from __future__ import annotations

from html import escape
from pathlib import Path
from textwrap import indent
from typing import ClassVar
from zipfile import ZIP_DEFLATED, ZipFile, ZipInfo

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from micropie.cli.examples import files

CARD = """\
.. grid-item-card:: {title}
   :link: {name}/index
   :link-type: doc

   .. image:: {name}/light.webp
      :class: only-light example-picture
      :alt:

   .. image:: {name}/dark.webp
      :class: only-dark example-picture
      :alt:

   {sentence}

   .. card-footer::

      .. raw:: html

         <p class="example-links">{links}</p>
"""

PICTURES = """\
.. image:: light.webp
   :class: only-light example-picture
   :alt: {alt}

.. image:: dark.webp
   :class: only-dark example-picture
   :alt: {alt}

.. raw:: html

   <p class="example-links">{links}</p>
"""


def write_zip(folder: Path, target: Path) -> None:
    """Write an example as a zip with one folder in it; the same files make the same bytes."""
    with ZipFile(target, "w") as archive:
        for path in files(folder):
            name = f"{folder.name}/{path.relative_to(folder).as_posix()}"
            archive.writestr(ZipInfo(name), path.read_bytes(), ZIP_DEFLATED)


def write_zips(app: Sphinx, error: Exception | None) -> None:
    """Write the zip of each example beside its page."""
    if error is None and app.builder.format == "html":
        for folder in sorted(path.parent for path in Path(app.srcdir, "examples").glob("*/app.py")):
            write_zip(folder, Path(app.outdir, "examples", folder.name, f"{folder.name}.zip"))


class _Directive(SphinxDirective):
    def links(self, name: str, *, here: str, root: str) -> str:
        """Return the links to an example, whose page stands at ``here`` and the live ones below ``root``."""
        found = [f'<a class="zip" href="{here}{name}.zip" download aria-label="Zip of {name}">Zip</a>']
        if self.env.app.tags.has("gallery"):
            live = f'href="{root}live/{name}/" target="_blank" rel="noopener"'
            found.insert(0, f'<a class="live" {live} aria-label="Open it live: {name}">Open it live</a>')
        return " ".join(found)


class Gallery(_Directive):
    """A card for each example: the content has a field ``:NAME: sentence`` for each."""

    has_content = True

    def fields(self) -> list[nodes.field]:
        found = self.parse_content_to_nodes()
        return [field for node in found for field in node.findall(nodes.field)]

    def run(self) -> list[nodes.Node]:
        grid = [".. grid:: 1 2 3 3", "   :gutter: 3", ""]
        for field in self.fields():
            name, sentence = (child.astext() for child in field.children)
            page = Path(self.env.doc2path(f"examples/{name}/index")).read_text(encoding="utf-8")
            links = self.links(name, here=f"{name}/", root="../")
            title = page.partition("\n")[0]
            card = CARD.format(name=name, title=title, sentence=" ".join(sentence.split()), links=links)
            grid += indent(card, "   ").splitlines()
        return self.parse_text_to_nodes("\n".join(grid))


class Showcase(_Directive):
    """The pictures and links of an example, on its own page."""

    option_spec: ClassVar = {"alt": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        if not self.options.get("alt"):
            raise self.error("say in :alt: what can be seen on the pictures")
        name = self.env.docname.split("/")[-2]
        links = self.links(name, here="", root="../../")
        return self.parse_text_to_nodes(PICTURES.format(alt=escape(self.options["alt"]), links=links))


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_directive("gallery", Gallery)
    app.add_directive("showcase", Showcase)
    app.connect("build-finished", write_zips)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
