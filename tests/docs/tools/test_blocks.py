"""The extractor of the documentation's code blocks, on small pages."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent

import pytest

from tools.blocks import Problem, blocks, check, extract, find_run, folders, main, pages, pytest_runs, runs

APP = ".. code-block:: python\n   :caption: app.py\n\n   app = {}\n"
CONSOLE = ".. code-block:: console\n\n"
SERVE = f"\n{CONSOLE}   $ uvicorn app:app\n"


@pytest.fixture
def rst(tmp_path: Path) -> Path:
    """A page's path in a small documentation folder with files to include."""
    docs = tmp_path / "docs"
    (docs / "shared").mkdir(parents=True)
    (docs / "guide").mkdir()
    (docs / "conf.py").touch()
    (docs / "shared" / "app.py").write_text("app = 0\n")
    (docs / "guide" / "local.html").write_text("<p>here</p>\n")
    (docs / "guide" / "broken.py").write_text("import os\n\napp = ready\n")
    return docs / "guide" / "page.rst"


def write(rst: Path, *parts: str) -> Path:
    rst.write_text("\n".join(dedent(part) for part in parts))
    return rst


GOOD = {
    "a file": APP,
    "a stand-alone block": ".. code-block:: python\n\n   import os\n\n   print(os.name)\n",
    "the older names of the directive": ".. code:: python\n\n   x = 1\n\n.. sourcecode:: python\n\n   x = 1\n",
    "a fragment": ".. fragment: shows the signature only\n\n.. code-block:: python\n\n   accept(subprotocol)\n",
    "a reason on two lines": ".. fragment: shows\n   the signature\n\n.. code-block:: python\n\n   accept(a)\n",
    "a file that is included": ".. literalinclude:: local.html\n   :language: html\n   :linenos:\n",
    "an include from the root": ".. literalinclude:: /shared/app.py",
    "a command and its file": APP + SERVE,
    "a command and an included file": ".. literalinclude:: /shared/app.py\n" + SERVE,
    "a command in a folder of the checkout": CONSOLE + "   $ cd docs/shared\n   $ uvicorn app:app\n",
    "the same in one line": CONSOLE + "   $ cd docs/shared && uvicorn app:app\n",
    "a test file and its command": APP.replace("app.py", "test_app.py") + CONSOLE + "   $ pytest\n",
    "a command that serves nothing of ours": ".. code-block:: console\n\n   $ pip install uvicorn\n",
    "text": ".. code-block:: text\n\n   import nothing, really\n",
    "a page about writing pages": ".. code-block:: rst\n\n   .. code-block:: python\n\n      import unused\n",
}

BAD = {
    "undefined name": (".. code-block:: python\n\n   a = 1\n   print(b)\n", 4, "undefined name 'b'"),
    "undefined name in a file": (
        ".. code-block:: python\n   :caption: a.py\n\n   print(b)\n",
        4,
        "undefined name 'b'",
    ),
    "unused import": (".. code-block:: python\n\n   import os\n", 3, "'os' imported but unused"),
    "unused variable": (
        ".. code-block:: python\n\n   def f():\n       x = 1\n",
        4,
        "'x' is assigned to but never used",
    ),
    "syntax error": (".. code-block:: python\n\n   a = 1\n   if a\n", 4, "syntax error: expected ':'"),
    "python by another name": (".. code:: py\n\n   print(b)\n", 3, "undefined name 'b'"),
    "no language": (".. code-block::\n\n   a = 1\n", 1, "name the block's language"),
    "a shell block": (".. code-block:: bash\n\n   uvicorn app:app\n", 1, "go into a 'console' block"),
    "no command": (".. code-block:: console\n\n   uvicorn app:app\n", 1, "has no command"),
    "no such module": (SERVE.lstrip(), 3, "no block above it is the file app.py"),
    "no such module in a package": (
        APP + "\n.. code-block:: console\n\n   $ python -m hypercorn web.app:app\n",
        8,
        "the file web/app.py",
    ),
    "no such module in the checkout": (
        CONSOLE + "   $ cd docs/guide\n   $ uvicorn app:app\n",
        4,
        "no block above it, and none in guide, is the file app.py",
    ),
    "no test file": (APP + "\n" + CONSOLE + "   $ pytest -q\n", 8, "no block above it is a test file"),
    "no app in a command": (CONSOLE + "   $ uvicorn app\n", 3, "names no MODULE:APP"),
    "a fragment without a reason": (
        ".. fragment:\n\n.. code-block:: python\n\n   f(a)\n",
        3,
        "needs a reason",
    ),
    "a file that is a fragment": (".. fragment: because\n\n" + APP, 3, "a fragment has no caption"),
    "a comment that nothing follows": (".. fragment: because\n\nText.\n", 1, "comes right before its block"),
    "a comment that is mistyped": (".. fragment because\n\n" + APP, 1, "comes right before its block"),
    "a page to continue that is not there": (
        "Title\n\n.. continues: nowhere\n",
        3,
        "there is no page nowhere.rst to continue",
    ),
    "some lines": (
        ".. literalinclude:: local.html\n   :lines: 1-3\n",
        1,
        ":lines:: an include shows a whole file",
    ),
    "from a marker": (".. literalinclude:: local.html\n   :start-after: x\n", 1, ":start-after:"),
    "an object": (".. literalinclude:: /shared/app.py\n   :pyobject: App\n", 1, ":pyobject:"),
    "a diff": (".. literalinclude:: /shared/app.py\n   :diff: old.py\n", 1, ":diff:"),
    "a missing file": (
        "Text.\n\n.. literalinclude:: /local.html\n",
        3,
        "included file not found: /local.html",
    ),
    "a missing name": (".. literalinclude::\n", 1, "included file not found: (no name)"),
    "a caption that leaves the folder": (APP.replace("app.py", "../app.py"), 1, "the name of a file"),
    "a caption that is a sentence": (APP.replace("app.py", "The app"), 1, "the name of a file"),
    "a caption from the root": (APP.replace("app.py", "/app.py"), 1, "the name of a file"),
}


@pytest.mark.parametrize("text", GOOD.values(), ids=GOOD)
def test_a_good_page_has_no_problem(rst: Path, text: str) -> None:
    assert check(write(rst, text)) == []


@pytest.mark.parametrize(("text", "line", "message"), BAD.values(), ids=BAD)
def test_a_bad_page_has_one_problem_with_its_place(rst: Path, text: str, line: int, message: str) -> None:
    [problem] = check(write(rst, text))
    assert (problem.path, problem.line) == (rst, line)
    assert message in problem.message
    assert str(problem).startswith(f"{rst}:{line}: ")


def test_a_problem_in_an_included_file_names_that_file(rst: Path) -> None:
    problems = check(write(rst, ".. literalinclude:: broken.py"))
    assert [(problem.path.name, problem.line) for problem in problems] == [("broken.py", 1), ("broken.py", 3)]


def test_reading_raises_what_checking_returns(rst: Path) -> None:
    with pytest.raises(Problem, match="whole file"):
        blocks(write(rst, ".. literalinclude:: local.html\n   :lines: 1-3\n"))


def test_what_a_block_knows(rst: Path) -> None:
    [block] = blocks(
        write(
            rst,
            """\
            Title
            =====

            .. code-block:: python
               :caption: app.py
               :name: first


               app = 1

               # end
            """,
        )
    )
    assert (block.line, block.start, block.language) == (4, 9, "python")
    assert (block.caption, block.name, block.fragment) == ("app.py", "first", None)
    assert block.source == "app = 1\n\n# end\n"
    assert (block.page, block.origin) == (rst, rst)


def test_blocks_in_tabs_are_found_dedented_and_placed(rst: Path) -> None:
    first, second = blocks(
        write(
            rst,
            """\
            .. tab-set::

               .. tab-item:: Server

                  .. code-block:: python
                     :caption: app.py

                     def f():
                         return missing

               .. tab-item:: Browser

                  .. code-block:: html
                     :caption: index.html

                     <p>

            Text.
            """,
        )
    )
    assert (first.line, first.source) == (5, "def f():\n    return missing\n")
    assert (second.line, second.source) == (13, "<p>\n")
    assert [problem.line for problem in check(rst)] == [9]


def test_an_include_has_its_own_name_unless_it_has_a_caption(rst: Path) -> None:
    text = """\
        .. literalinclude:: /shared/app.py

        .. literalinclude:: local.html
           :caption: templates/index.html
        """
    app, template = blocks(write(rst, text))
    assert (app.caption, app.language, app.source) == ("app.py", "python", "app = 0\n")
    assert (template.caption, template.language) == ("templates/index.html", "html")


def test_a_page_is_read_like_a_script(rst: Path) -> None:
    write(
        rst,
        SERVE.replace("uvicorn app:app", "pip install x"),
        named("one", 1),
        SERVE,
        named("two", 2),
        SERVE,
        SERVE,
    )
    one, two, again = runs(rst)
    assert (one.files, one.names, one.command) == ({"app.py": "app = 1\n"}, {"one"}, "uvicorn app:app")
    assert (two.files, two.names) == ({"app.py": "app = 2\n"}, {"two"})
    assert again.files == two.files
    assert find_run(rst, "two") == two


def named(name: str, value: int) -> str:
    return f".. code-block:: python\n   :caption: app.py\n   :name: {name}\n\n   app = {value}\n"


def test_a_name_that_nothing_runs_is_told_with_those_that_do_run(rst: Path) -> None:
    write(rst, named("one", 1), SERVE, named("two", 2))
    with pytest.raises(
        LookupError, match=r"page.rst: no server command runs a block named 'two'; .* run: one$"
    ):
        find_run(rst, "two")


@pytest.mark.parametrize(
    ("command", "serves"),
    [
        ("uvicorn app:app --port 80", True),
        ("hypercorn app:app", True),
        ("granian --interface asgi app:app", True),
        ("daphne app:app", True),
        ("python -m uvicorn app:app", True),
        ("KEY=secret DEBUG=1 uvicorn app:app", True),
        ("pip install uvicorn", False),
        ("python client.py", False),
        ("KEY=secret", False),
    ],
)
def test_which_commands_serve(rst: Path, command: str, serves: bool) -> None:
    write(rst, APP, SERVE.replace("uvicorn app:app", command))
    assert [run.command for run in runs(rst)] == ([command] if serves else [])
    assert check(rst) == []


def test_output_is_no_command_and_a_long_command_goes_on(rst: Path) -> None:
    text = r"""
        .. code-block:: console

           $ uvicorn app:app \
               --port 80
           Uvicorn running on \
           $HOME
           $ curl localhost
        """
    [block] = blocks(write(rst, text))
    assert block.commands == [(4, "uvicorn app:app --port 80"), (8, "curl localhost")]


@pytest.mark.parametrize("command", ["pytest", "pytest -q", "python -m pytest"])
def test_a_pytest_command_runs_the_folder_as_it_stands(rst: Path, command: str) -> None:
    test = ".. code-block:: python\n   :caption: test_app.py\n\n   x = {}\n"
    write(rst, APP, test.format(1), f"{CONSOLE}   $ {command}\n", SERVE, test.format(2))
    [run] = pytest_runs(rst)
    assert run.command == command
    assert run.files == {"app.py": "app = {}\n", "test_app.py": "x = 1\n"}
    assert [run.command for run in runs(rst)] == ["uvicorn app:app"]


def test_a_run_writes_its_folder(rst: Path, tmp_path: Path) -> None:
    write(rst, APP, ".. literalinclude:: local.html\n   :caption: pages/index.html\n", SERVE)
    [run] = runs(rst)
    run.write(tmp_path / "out")
    assert (tmp_path / "out" / "app.py").read_text() == "app = {}\n"
    assert (tmp_path / "out" / "pages" / "index.html").read_text() == "<p>here</p>\n"


def test_every_state_of_the_folder_is_extracted_once(rst: Path, tmp_path: Path) -> None:
    alone = ".. code-block:: python\n\n   x = 1\n"
    fragment = ".. fragment: why not\n\n.. code-block:: python\n\n   y\n"
    client = ".. code-block:: python\n   :caption: client.py\n\n   x = 1\n"
    write(rst, named("one", 1), named("two", 2), SERVE, SERVE, alone, fragment, client)
    extract(tmp_path / "out", docs_root=tmp_path / "docs")
    written = sorted(str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.py"))
    assert written == [
        "guide/page/line_1/app.py",
        "guide/page/line_23/block.py",
        "guide/page/line_33/app.py",
        "guide/page/line_33/client.py",
        "guide/page/line_7/app.py",
    ]


def test_a_page_continues_in_the_folder_that_another_one_left(rst: Path) -> None:
    former = rst.with_name("former.rst")
    write(former, *["Text.\n"] * 20, named("old", 1), named("new", 2))
    test = ".. code-block:: python\n   :caption: test_app.py\n\n   import app\n\n   print(app)\n"
    write(rst, ".. continues: former\n", SERVE, test, f"{CONSOLE}   $ pytest\n")
    assert check(rst) == []
    app = {"app.py": "app = 2\n"}
    [run], [tests] = runs(rst), pytest_runs(rst)
    assert (run.files, run.names) == (app, {"new"})
    both = app | {"test_app.py": "import app\n\nprint(app)\n"}
    assert tests.files == both
    assert list(folders(rst).values()) == [both]


def test_what_is_wrong_with_the_former_page_is_told_of_the_later_too(rst: Path) -> None:
    write(rst.with_name("former.rst"), ".. literalinclude:: nothing.html\n")
    [problem] = check(write(rst, ".. continues: former\n"))
    assert (problem.path.name, problem.line) == ("former.rst", 1)


def test_a_page_without_blocks_has_no_folder(rst: Path) -> None:
    assert folders(write(rst, "Text.\n")) == {}


def test_pages_leave_out_what_is_built(rst: Path, tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    (docs / "_build").mkdir()
    for path in (rst, docs / "index.rst", docs / "_part.rst", docs / "_build" / "copy.rst"):
        path.touch()
    assert pages(docs) == [rst, docs / "index.rst"]


def test_the_command_line_prints_problems_and_fails(
    rst: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write(rst, ".. code-block:: python\n\n   print(a)\n")
    assert main(["--docs", str(tmp_path / "docs"), "check"]) == 1
    assert capsys.readouterr().out == "docs/guide/page.rst:3: undefined name 'a'\n"
    write(rst, APP)
    assert main(["--docs", str(tmp_path / "docs"), "check"]) == 0


def test_the_command_line_extracts(rst: Path, tmp_path: Path) -> None:
    write(rst, APP)
    assert main(["--docs", str(tmp_path / "docs"), "extract", str(tmp_path / "out")]) == 0
    assert (tmp_path / "out" / "guide" / "page" / "line_1" / "app.py").is_file()
