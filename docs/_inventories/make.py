"""Write the inventories: the few names of other projects' documentation that ours links to.

Sphinx reads them instead of fetching whole ones, so that the docs build without a network. Add a name below when
a build says that its reference target is not found, and run::

    python docs/_inventories/make.py
"""

from __future__ import annotations

import zlib
from pathlib import Path

HEADER = """\
# Sphinx inventory version 2
# Project: {}
# Version: {}
# The remainder of this file is compressed using zlib.
"""

# Page of the documentation, kind of names, names. The anchor of each is the name itself, unless the page has one.
Pages = list[tuple[str, str, list[str]]]

HTTPX: Pages = [
    ("api/#asyncclient", "class", ["httpx.AsyncClient"]),
    ("api/#response", "class", ["httpx.Response"]),
]

JINJA: Pages = [
    ("api/#jinja2.Environment", "class", ["jinja2.environment.Environment"]),
    ("api/", "exception", ["jinja2.TemplateError"]),
]

PYTHON: Pages = [
    ("library/asyncio-queue.html", "class", ["asyncio.Queue"]),
    ("library/asyncio-sync.html", "class", ["asyncio.Event"]),
    ("library/asyncio-task.html", "class", ["asyncio.TaskGroup"]),
    ("library/asyncio-task.html", "function", ["asyncio.timeout", "asyncio.to_thread"]),
    (
        "library/collections.abc.html",
        "class",
        [
            "collections.abc.AsyncIterator",
            "collections.abc.Awaitable",
            "collections.abc.Callable",
            "collections.abc.Collection",
            "collections.abc.Coroutine",
            "collections.abc.Iterable",
            "collections.abc.Mapping",
            "collections.abc.MutableMapping",
            "collections.abc.Sequence",
        ],
    ),
    ("library/concurrent.futures.html", "class", ["concurrent.futures.Future"]),
    ("library/constants.html", "data", ["Ellipsis", "None"]),
    (
        "library/contextlib.html",
        "class",
        ["contextlib.AbstractAsyncContextManager", "contextlib.AsyncExitStack"],
    ),
    ("library/contextvars.html", "class", ["contextvars.ContextVar"]),
    ("library/datetime.html", "class", ["datetime.date", "datetime.datetime"]),
    ("library/enum.html", "class", ["enum.Enum"]),
    (
        "library/exceptions.html",
        "exception",
        [
            "AssertionError",
            "BaseException",
            "Exception",
            "ExceptionGroup",
            "LookupError",
            "OSError",
            "RuntimeError",
            "TimeoutError",
            "TypeError",
            "ValueError",
        ],
    ),
    ("library/functions.html", "class", ["bool", "float", "int", "object"]),
    ("library/html.html", "function", ["html.escape"]),
    ("library/io.html", "class", ["io.BufferedReader"]),
    ("library/logging.html", "class", ["logging.LogRecord"]),
    ("library/logging.html", "function", ["logging.basicConfig"]),
    ("library/os.html", "class", ["os.PathLike"]),
    ("library/pathlib.html", "class", ["pathlib.Path"]),
    ("library/re.html", "class", ["re.Pattern"]),
    ("library/secrets.html", "function", ["secrets.token_urlsafe"]),
    ("library/stdtypes.html", "class", ["bytes", "dict", "frozenset", "list", "str", "tuple"]),
    ("library/typing.html", "data", ["typing.Annotated", "typing.Any", "typing.Literal", "typing.Unpack"]),
    ("library/urllib.parse.html", "function", ["urllib.parse.quote"]),
    ("library/uuid.html", "class", ["uuid.UUID"]),
]


def write(target: str, project: str, version: str, pages: Pages) -> None:
    """Write one inventory: four lines of plain text, then the entries, compressed."""
    lines = [
        f"{name} py:{kind} 1 {page if '#' in page else page + '#$'} -\n"
        for page, kind, names in pages
        for name in names
    ]
    body = "".join(sorted(lines))
    content = HEADER.format(project, version).encode() + zlib.compress(body.encode(), 9)
    Path(__file__).with_name(target).write_bytes(content)


if __name__ == "__main__":
    write("httpx.inv", "HTTPX", "0.28", HTTPX)
    write("jinja.inv", "Jinja", "3", JINJA)
    write("python.inv", "Python", "3", PYTHON)
