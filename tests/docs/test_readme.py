"""What the documents tell a reader is true: links, tests, targets, commands, and what the demonstration prints."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from expert_bot.__main__ import app
from tests.docs.documents import (
    DOCUMENTS,
    README,
    ROOT,
    blocks,
    broken_links,
    code_lines,
    links,
    prose,
    reader_environment,
    run,
)

of_every_document = pytest.mark.parametrize(
    "document", [pytest.param(each, id=each.relative_to(ROOT).as_posix()) for each in DOCUMENTS]
)
TARGETS = re.findall(r"^([a-z]+):.*## ", (ROOT / "Makefile").read_text("utf-8"), flags=re.MULTILINE)


@of_every_document
def test_every_link_leads_somewhere(document: Path) -> None:
    """Files, headings and tests that a link names are there."""
    assert broken_links(document) == []


@pytest.mark.parametrize(
    "link",
    [
        pytest.param("[x](missing.md)", id="file"),
        pytest.param("[x](#missing)", id="heading here"),
        pytest.param("[x](README.md#missing)", id="heading elsewhere"),
        pytest.param("[`test_missing`](tests/docs/test_readme.py)", id="test"),
    ],
)
def test_a_broken_link_is_found(link: str, tmp_path: Path) -> None:
    """A link to what is not there is told by its target."""
    for name in ("README.md", "tests"):
        (tmp_path / name).symlink_to(ROOT / name)
    document = tmp_path / "page.md"
    document.write_text(f"# Page\n\n{link} [good](README.md#limits)\n", "utf-8")
    assert [target for _, target in links(document)][:1] == broken_links(document)


def test_every_scenario_of_the_readme_is_shown_by_a_test() -> None:
    """No row of the scenario table goes without a test's name."""
    table = prose(README).partition("## What happens when\n")[2].partition("\nHow it works")[0]
    rows = [line for line in table.splitlines() if line.startswith("| ")][1:]
    assert len(rows) >= 15
    assert [row for row in rows if "[`test_" not in row] == []


@of_every_document
def test_every_make_target_that_is_told_exists(document: Path) -> None:
    """A reader can type what a document says."""
    told = [line.split()[1] for line in code_lines(document) if re.match(r"make [a-z]", line)]
    assert [target for target in told if target not in TARGETS] == []


def test_the_readme_lists_every_make_target() -> None:
    """What the Makefile offers is told; `help` lists itself."""
    told = re.findall(r"^\| `make ([a-z]+)` \|", prose(README), flags=re.MULTILINE)
    assert sorted(TARGETS) == sorted([*told, "help"])


def told_commands(document: Path) -> list[str]:
    """Return the command lines of this package that a document shows."""
    found = (re.match(r"(?:\.venv/bin/)?(expert-bot( .*)?)$", line) for line in code_lines(document))
    return [match[1] for match in found if match]


def mistake_in(line: str) -> str:
    """Return why a command line cannot be run, or the empty string; a bare name is a mention and must only exist."""
    command: Any = typer.main.get_command(app)
    _, *words = shlex.split(line)
    while words and hasattr(command, "commands"):
        if words[0] not in command.commands:
            return f"no command {words[0]}"
        command = command.commands[words.pop(0)]
    try:
        if words:
            command.make_context(line, words)
    except typer.TyperException as error:
        return str(error)
    return ""


@of_every_document
def test_every_command_that_is_told_can_be_typed(document: Path) -> None:
    """Names, arguments and options are those that the parser knows."""
    assert [(line, mistake) for line in told_commands(document) if (mistake := mistake_in(line))] == []


@pytest.mark.parametrize(
    ("said", "line"),
    [
        pytest.param("no command", "expert-bot answer", id="command"),
        pytest.param("no command", "expert-bot import bills FILE", id="command of a group"),
        pytest.param("user", "expert-bot ask hola", id="missing option"),
        pytest.param("--usr", "expert-bot ask hola --user me --usr me", id="unknown option"),
        pytest.param("argument", "expert-bot work hard", id="argument too many"),
    ],
)
def test_a_wrong_command_is_found(said: str, line: str) -> None:
    """A mistake in a document is told with what is wrong."""
    assert said in mistake_in(line)


def lines_out_of_place(shown: str, real: str) -> list[str]:
    """Return the lines of an excerpt that the real output does not have, or has earlier; `...` stands for any lines."""
    rest = iter(line.rstrip() for line in real.splitlines())
    return [line for line in shown.splitlines() if line != "..." and line.rstrip() not in rest]


def test_the_demonstration_prints_what_the_documents_show(tmp_path: Path) -> None:
    """Every line of the excerpts, the answer's among them, is in the real output, in this order."""
    real = run([sys.executable, "-m", "expert_bot", "demo"], folder=ROOT, env=reader_environment(tmp_path))
    for document in (README, ROOT / "README.es.md"):
        (shown,) = blocks(document, "text demo")
        assert " kWh: " in shown
        assert lines_out_of_place(shown, real) == []


def test_an_invented_line_of_output_is_found() -> None:
    """A line that is not printed, or not in this order, is told."""
    assert lines_out_of_place("...\nb\nx\n", "a\nb  \nc\n") == ["x"]
    assert lines_out_of_place("c\nb\n", "a\nb\nc\n") == ["b"]
