"""The repository's documents as data: blocks, links, headings, commands; and programs run as a reader would."""

from __future__ import annotations

import ast
import os
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from expert_bot.config import Settings, variable_name

ROOT = Path(__file__).resolve().parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.md")])
PATIENCE_S = 60.0  # only a broken command ever takes this long

_FENCE = re.compile(r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[(?P<label>[^\]]+)\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#+ (?P<title>.+)$", re.MULTILINE)
_SPAN = re.compile(r"`([^`\n]+)`")


def blocks(document: Path, info: str) -> list[str]:
    """Return the bodies of the fenced blocks with this info string, in order."""
    return [match["body"] for match in _FENCE.finditer(document.read_text("utf-8")) if match["info"] == info]


def prose(document: Path) -> str:
    """Return a document's text without its fenced blocks."""
    return _FENCE.sub("", document.read_text("utf-8"))


def links(document: Path) -> list[tuple[str, str]]:
    """Return label and target of every link."""
    return [(match["label"], match["target"]) for match in _LINK.finditer(prose(document))]


def anchors(document: Path) -> set[str]:
    """Return what can stand after `#` in a link to a document: its headings, as code hosts write them."""
    titles = [match["title"].strip().lower() for match in _HEADING.finditer(prose(document))]
    return {re.sub(r"[^\w\- ]", "", title).replace(" ", "-") for title in titles}


def broken_links(document: Path) -> list[str]:
    """Return the targets inside the repository that do not exist, and the tests that links name in vain."""
    return [target for label, target in links(document) if not _leads_somewhere(document, label, target)]


def code_lines(document: Path) -> Iterator[str]:
    """Yield every inline code and every line of a console block, continued lines joined."""
    yield from _SPAN.findall(prose(document))
    for block in blocks(document, "console"):
        yield from block.replace("\\\n", " ").splitlines()


def reader_environment(folder: Path, **settings: str) -> dict[str, str]:
    """Return an environment in which only these settings are set, with a data folder of its own."""
    own = {variable_name(field) for field in Settings.model_fields}
    inherited = {name: value for name, value in os.environ.items() if name not in own}
    return {**inherited, "COLUMNS": "80", "EXPERT_BOT_DATA_DIR": str(folder / "data"), **settings}


def run(arguments: Sequence[str | Path], *, folder: Path, env: dict[str, str]) -> str:
    """Run a program that must succeed and return what it printed."""
    ran = subprocess.run(
        [str(argument) for argument in arguments],
        cwd=folder,
        env=env,
        capture_output=True,
        check=False,
        text=True,
        timeout=PATIENCE_S,
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


def _leads_somewhere(document: Path, label: str, target: str) -> bool:
    if "://" in target:
        return True
    path_text, _, anchor = target.partition("#")
    path = (document.parent / path_text).resolve() if path_text else document
    if not path.exists() or (anchor and anchor not in anchors(path)):
        return False
    name = label.strip("`")
    return not name.startswith("test_") or name in _defined_tests(path)


def _defined_tests(path: Path) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }
