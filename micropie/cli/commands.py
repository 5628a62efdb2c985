"""The command line: start from an example, run an app, print its routes."""

from __future__ import annotations

import argparse
import asyncio
import errno
import importlib
import logging
import os
import socket
import sys
import threading
import traceback
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from micropie import __version__
from micropie.app import App
from micropie.concurrency import POOL_NAME

from .examples import EXTRAS, ExampleError, copy, examples, missing, sentence
from .loading import AppNotFound, Target, load, package_of
from .routetable import route_table
from .shadowed_modules import name_the_cure

#: Where the process that reloads finds out which app it serves.
_TARGET = "MICROPIE_RUN"

#: How long requests may go on when the server stops or starts again, in seconds.  An open stream, which never ends by
#: itself, costs every reload as much.
_GRACE = 1

_ABOUT = """\
A few commands for an app that is being written.

  %(prog)s examples               list the examples
  %(prog)s examples copy chat     copy one of them, to start from it
  %(prog)s run app.py             serve an app, again after each change
  %(prog)s routes app.py          print what it answers to
  %(prog)s --version              print the version of MicroPie

Each has a --help of its own.
"""

_EXAMPLES = """\
List the examples of the documentation, or copy one out: its app, its page and its tests.

  %(prog)s                        list them
  %(prog)s copy chat              copy "chat" into a new folder of that name
  %(prog)s copy chat our-chat     copy it into the folder "our-chat"
"""

_APP = """\
APP is a file, or a module as "import" knows it. The app in it is the one that is named, else "app", else the only one.
A function without arguments that is named makes the app.

  %(prog)s app.py
  %(prog)s app.py:shop            the app that is called "shop" there
  %(prog)s app.py:create_app      the app that the function "create_app" returns
  %(prog)s bakery.web             the module "web" of the package "bakery"; or bakery/web.py
"""

_RUN = f"""\
Serve an app for its developer: on this machine alone, and again whenever a Python file in its folder is saved.
For the internet start the server itself; the page "Put an app on the internet" says how.

{_APP}\
  %(prog)s app.py --port 0        any port that is free; it is printed
"""

_ROUTES = f"""\
Print a table of an app's routes: methods, path, arguments as they stand in the code, first line of the docstring.
Arguments before a "*" may come from the path, from the query or from a body; those after it, not from the path.

{_APP}"""


class _Problem(Exception):
    """What the user has to mend, in words."""


def main(arguments: list[str] | None = None) -> int:
    """Run a command; the result is the exit status, 2 for whatever its user has to mend."""
    try:
        try:
            return _main(arguments)
        finally:
            print(end="", flush=True)
    except BrokenPipeError:
        # Who reads the output has seen enough, as "head" has; nothing may come when Python flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1


def _main(arguments: list[str] | None) -> int:
    options = _parser().parse_args(arguments)
    try:
        options.command(options)
    except (AppNotFound, ExampleError, _Problem) as problem:
        print(f"error: {problem}", file=sys.stderr)
        return 2
    return 0


def _parser() -> argparse.ArgumentParser:
    # The name of the file that was started, unless Python started the package.
    name = Path(sys.argv[0]).stem
    prog = "micropie" if name == "micropie" else "python -m micropie"
    parser, commands = _level(argparse.ArgumentParser(prog=prog, **_text(_ABOUT)))
    parser.add_argument(
        "--version", action="version", version=f"micropie {__version__}", help="print the version and exit"
    )

    listing, more = _level(
        commands.add_parser("examples", help="list the examples, or copy one", **_text(_EXAMPLES))
    )
    listing.set_defaults(command=_list_examples)
    one = more.add_parser("copy", help="copy an example into a new folder")
    one.add_argument("name", metavar="NAME", help="the example")
    one.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", help="the new folder; NAME unless given"
    )
    one.set_defaults(command=_copy_example)

    run = commands.add_parser("run", help="serve an app, again after each change", **_text(_RUN))
    run.add_argument("app", metavar="APP", help="the app, such as app.py")
    run.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    run.add_argument("--port", type=_port, default=8000, help="the port (default: %(default)s)")
    run.add_argument("--no-reload", dest="reload", action="store_false", help="do not watch for changes")
    run.set_defaults(command=_run)

    routes = commands.add_parser("routes", help="print the routes of an app", **_text(_ROUTES))
    routes.add_argument("app", metavar="APP", help="the app, such as app.py")
    routes.set_defaults(command=_routes)

    parser.set_defaults(command=lambda _options: print(parser.format_help(), end=""))
    return parser


def _level(parser: argparse.ArgumentParser) -> tuple[argparse.ArgumentParser, Any]:
    return parser, parser.add_subparsers(title="commands", metavar="COMMAND")


def _text(description: str) -> dict[str, Any]:
    return {"description": description, "formatter_class": argparse.RawDescriptionHelpFormatter}


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65_535:
        raise argparse.ArgumentTypeError(f"a port is a number up to 65535, not {text!r}")
    return int(text)


# --- examples -------------------------------------------------------------------------------------------


def _list_examples(_options: argparse.Namespace) -> None:
    found = examples()
    width = max(map(len, found))
    for name, folder in found.items():
        print(f"{name:{width}}  {sentence(folder)}")
    print("\nCopy one: python -m micropie examples copy NAME")


def _copy_example(options: argparse.Namespace) -> None:
    folder = options.folder or Path(options.name)
    print(f"{folder} has {', '.join(copy(options.name, folder))}.")
    lacks = missing(folder)
    if lacks:
        print(f"This Python still needs, for it and its tests: {', '.join(lacks)}.")
    print(f"\n  cd {folder}\n  python -m micropie run app.py\n  python -m pytest")


# --- an app ---------------------------------------------------------------------------------------------


def _run(options: argparse.Namespace) -> None:
    try:
        import uvicorn
    except ImportError:
        raise _Problem("run needs uvicorn: install micropie with the extra 'server'") from None
    path = [*sys.path]
    app = _load(options.app)
    _check_address(options.host, options.port)
    settings = {"host": options.host, "port": options.port, "timeout_graceful_shutdown": _GRACE}
    if options.reload:
        # Else the process that reloads would look there before it looks for Python's own modules.
        sys.path[:] = path
        os.environ[_TARGET] = options.app
        uvicorn.run(
            "micropie.cli.commands:served",
            factory=True,
            reload=True,
            reload_dirs=[str(_folder(options.app))],
            # Else a change that comes at once is missed. Without watchfiles, uvicorn looks again and again.
            reload_delay=0.0 if find_spec("watchfiles") else 0.25,
            **settings,
        )
    else:
        _keep_quiet_about_cuts()
        try:
            uvicorn.run(app, **settings)
        finally:
            logging.getLogger("uvicorn.error").removeFilter(_is_no_cut)
        _leave_threads_behind()


def served() -> Any:
    """The app, in the process that is started again after each change."""
    _keep_quiet_about_cuts()
    try:
        return _load(os.environ[_TARGET])
    except (AppNotFound, _Problem) as problem:
        sys.exit(f"error: {problem}")


def _keep_quiet_about_cuts() -> None:
    """Have uvicorn count the requests that it cuts off, which it does, and not show a traceback of each."""
    logging.getLogger("uvicorn.error").addFilter(_is_no_cut)


def _is_no_cut(record: logging.LogRecord) -> bool:
    return not (record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError))


def _leave_threads_behind() -> None:
    """End the process if a sync handler still waits in its thread: Python would wait for it, perhaps for ever."""
    threads = [thread for thread in threading.enumerate() if thread.name.startswith(POOL_NAME)]
    for thread in threads:
        thread.join(_GRACE / len(threads))
    if any(thread.is_alive() for thread in threads):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(0)


def _check_address(host: str, port: int) -> None:
    """Uvicorn says it too, but not which port nor what to do, and only after the startup."""
    with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
        if os.name == "posix":
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            taken = error.errno == errno.EADDRINUSE
            hint = "; name another, or --port 0 for any that is free" if taken else ""
            raise _Problem(f"cannot listen on {host}, port {port}: {error.strerror}{hint}") from None


def _folder(text: str) -> Path:
    """The folder in which changes count: the file's, that of its package, or that of all modules."""
    target = Target.parse(text)
    if not target.is_file:
        return Path.cwd()
    file = target.file(Path.cwd())
    root, name = package_of(file)
    return file.parent if root == file.parent else root / name.partition(".")[0]


def _routes(options: argparse.Namespace) -> None:
    app = _load(options.app)
    if not isinstance(app, App):
        raise _Problem(f"{options.app} has no MicroPie app: it is of the module {type(app).__module__}")
    print(route_table(app))


def _load(text: str) -> Any:
    """The app; what its file raises is shown from that file on."""
    try:
        return load(text)
    except AppNotFound:
        raise
    except Exception as error:
        name_the_cure(error)
        step = error.__traceback__
        while step is not None and _on_the_way(step.tb_frame.f_code.co_filename):
            step = step.tb_next
        traceback.print_exception(error.with_traceback(step))
        extra = EXTRAS.get(error.name or "") if isinstance(error, ModuleNotFoundError) else None
        hint = f'; "micropie[{extra}]" brings what it lacks' if extra else ""
        raise _Problem(f"{text} cannot be loaded, see above{hint}") from None


def _on_the_way(file: str) -> bool:
    own = file == importlib.__file__ or Path(file).is_relative_to(Path(__file__).parent)
    return own or file.startswith("<frozen importlib")
