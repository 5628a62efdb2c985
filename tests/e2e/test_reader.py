"""A reader who has nothing but the site: the tutorial from its first page to its last, in a fresh environment.

Whatever the pages say is done, in their order: files are saved where the terminal stands, ``$`` lines are entered, and
what the pages show as an answer is what comes. Only the port is another, which is bound before a server starts.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from contextlib import ExitStack
from html import unescape
from pathlib import Path

import httpx

from tests.e2e.conftest import ROOT, missing
from tests.serving import Server, serve
from tools.blocks import DOCS, SERVERS, Block, blocks, program, transcript

ADDRESS = "127.0.0.1:8000"  # What the pages say.
LEFT_BY_TOOLS = (".git", ".tox", ".venv", "_build", "__pycache__", ".*_cache")
# What leads to the environment that runs this test is nothing that a reader has.
OURS = re.compile(r"(TOX|COVERAGE|PYTEST)_|PYTHON|VIRTUAL_ENV|MICROPIE_")

_INCLUDE = re.compile(r"^\.\. include:: (\S+)\n   :start-after: (.+)\n   :end-before: (.+)\n", re.MULTILINE)
_ROW = re.compile(
    r"^   \* - `(?P<path>\S+) <http://(?P<address>\S+)>`__\n     - ``(?P<answer>.+)``$", re.MULTILINE
)


def tutorial() -> list[Path]:
    """The pages of the tutorial in the order of the landing page's table of contents."""
    names = re.findall(
        r"^   (tutorial/[\w-]+)$", (DOCS / "index.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    return [DOCS / f"{name}.rst" for name in names]


def expanded(page: Path, folder: Path) -> Path:
    """Return a copy of the page with the install commands in their place, as its reader sees it."""

    def part(include: re.Match[str]) -> str:
        path, start, end = include.groups()
        text = (page.parent / path).read_text(encoding="utf-8")
        return text.partition(start)[2].partition(end)[0]

    copy = folder / page.name
    copy.write_text(_INCLUDE.sub(part, page.read_text(encoding="utf-8")), encoding="utf-8")
    return copy


def steps(page: Path) -> list[Block | re.Match[str]]:
    """Return what a page asks to do, in order: its blocks, and the rows of its tables of addresses and answers."""
    text = page.read_text(encoding="utf-8")
    assert len(_ROW.findall(text)) == text.count("\n   * - `/"), "a row that nobody tries"
    rows = [(text.count("\n", 0, row.start()) + 1, row) for row in _ROW.finditer(text)]
    placed: list[tuple[int, Block | re.Match[str]]] = [(block.line, block) for block in blocks(page)]
    return [step for _, step in sorted(placed + rows, key=lambda place: place[0])]


class Reader:
    """A person at a terminal and a browser: where they are, what they have switched to, which server they started."""

    def __init__(self, folder: Path, browser: httpx.Client) -> None:
        self.folder = folder
        self._environment = {name: value for name, value in os.environ.items() if not OURS.match(name)}
        self._server: Server | None = None
        self._started = ExitStack()
        self._browser = browser

    def read(self, page: Path) -> None:
        """Do all that a page says."""
        for step in steps(page):
            if isinstance(step, re.Match):
                assert step["address"] == ADDRESS + step["path"]
                self._open(step["address"], step["answer"])
            elif step.language == "console":
                for _, command, shown in transcript(step):
                    self._enter(command, shown)
            elif step.caption is not None:
                file = self.folder / step.caption
                file.parent.mkdir(exist_ok=True)
                file.write_text(step.source, encoding="utf-8")
        self.stop_server()

    def stop_server(self) -> None:
        """Press Ctrl+C, if a server runs; a traceback in what it wrote is a failure."""
        self._server = None
        self._started.close()

    def _enter(self, command: str, shown: list[str]) -> None:
        if program(command) in SERVERS:
            self.stop_server()
            self._browser.cookies.clear()
            self._server = self._started.enter_context(
                serve(self.folder, command, environment=self._environment)
            )
        elif program(command) == "websockets":
            self._talk(command, shown)
        elif command == "playwright install chromium":
            assert shutil.which("chromium")  # The page says when it is not needed.
        elif program(command) == "pytest":
            output = self._run(command)
            for line in shown:  # All but how long it took, and what other packages warn of.
                assert re.sub(r" passed\b.*", " passed", line.strip("= ")) in output, output
            assert not re.search(r"\d (failed|skipped|error)", output), output
            assert re.search(r"^=+ \d+ passed\b", shown[-1]), "the page shows how many tests pass"
        else:
            output = self._run(command)
            assert not shown or output.strip() == "\n".join(shown).strip(), command

    def _run(self, command: str) -> str:
        """Run a command where the last one ended, with what it exported, and return what it wrote."""
        state = self.folder.parent / "state"
        script = f'{self._here(command)}\nprintf "%s\\0" "$PWD" >"{state}"; env -0 >>"{state}"'
        done = subprocess.run(
            ["bash", "-euc", script],
            cwd=self.folder,
            env=self._environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        here, *pairs = state.read_text(encoding="utf-8").rstrip("\0").split("\0")
        self.folder = Path(here)
        self._environment = dict(pair.split("=", 1) for pair in pairs)
        return self._there(done.stdout)

    def _talk(self, command: str, shown: list[str]) -> None:
        """Hold the conversation that the page shows: say the lines after ``>``, hear the others, and leave."""
        with subprocess.Popen(
            ["bash", "-euc", f"exec {self._here(command)}"],
            cwd=self.folder,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as talk:
            assert talk.stdin
            assert talk.stdout
            for line in shown:
                if line.startswith("> "):
                    talk.stdin.write(line.removeprefix("> ") + "\n")
                    talk.stdin.flush()
                    continue
                if line == shown[-1]:
                    talk.stdin.close()  # Ctrl+D
                heard = ""
                while self._here(line) not in heard:
                    letter = talk.stdout.read(1)
                    assert letter, f"{line!r} does not come after {heard!r}"
                    heard += letter

    def _open(self, address: str, answer: str) -> None:
        page = self._browser.get(f"http://{self._here(address)}")
        assert unescape(page.text) == answer, address

    def _here(self, text: str) -> str:
        return text.replace(ADDRESS, f"127.0.0.1:{self._server.port}") if self._server else text

    def _there(self, text: str) -> str:
        return text.replace(f"127.0.0.1:{self._server.port}", ADDRESS) if self._server else text


def test_the_tutorial_leads_to_a_chat_with_a_browser_test(tmp_path: Path) -> None:
    if shutil.which("chromium") is None:
        missing("There is no Chromium on the PATH, and the reader's environment is not to download one.")
    checkout = tmp_path / "micropie"
    shutil.copytree(ROOT, checkout, ignore=shutil.ignore_patterns(*LEFT_BY_TOOLS))
    pages = tmp_path / "pages"
    pages.mkdir()
    with httpx.Client() as browser:
        reader = Reader(checkout, browser)
        try:
            for page in tutorial():
                reader.read(expanded(page, pages))
        finally:
            reader.stop_server()
    assert {"app.py", "templates", "test_app.py", "test_browser.py"} <= {
        path.name for path in reader.folder.iterdir()
    }


def test_every_page_of_the_tutorial_is_in_its_sequence() -> None:
    assert sorted(tutorial()) == sorted((DOCS / "tutorial").glob("*.rst"))
