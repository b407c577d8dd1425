"""The documents tell the truth: names, links, commands, examples and generated pages are checked against the code."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from expert_bot.__main__ import app
from expert_bot.config import Settings
from expert_bot.demo import run_demo
from expert_bot.show import silent

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text("utf-8")


def test_generated_pages_are_current() -> None:
    """Settings, reasons and events are what the code says; `make contract` writes them."""
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_lead_somewhere(page: Path) -> None:
    """A link to a file of the repository names a file that exists."""
    links = re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]
    assert missing == []


def test_every_test_that_proves_a_promise_exists() -> None:
    """The README's scenario table names real tests and real files."""
    names = re.findall(r"`(test_[a-z0-9_]+)`", README)
    sources = "\n".join(path.read_text("utf-8") for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(names) >= 10
    assert [name for name in names if f"def {name}(" not in sources] == []
    assert [path for path in re.findall(r"`(tests/[a-z_/.]+)`", README) if not (ROOT / path).exists()] == []


def test_every_make_target_named_in_a_document_exists() -> None:
    """`make X` in any page is a target of the Makefile."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = {
        name
        for page in PAGES
        for name in re.findall(r"(?:`|^)make ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)
    }
    assert named
    assert named - targets == set()


@pytest.mark.parametrize("page", ["README.md", "docs/tutorial.md", "docs/how-to/run-with-emulators.md"])
def test_every_command_in_a_document_is_one(page: str) -> None:
    """`expert-bot X Y` in the pages a newcomer follows exists in the command line."""
    text = (ROOT / page).read_text("utf-8")
    lines = re.findall(r"^\s*(?:\.venv/bin/)?expert-bot ([a-z ]+)", text, re.MULTILINE)
    commands = {
        tuple(line.split()[: 2 if line.split()[0] in ("import", "topics", "contract") else 1])
        for line in lines
    }
    assert commands
    for command in commands:
        if command == ("contract", "write"):
            continue
        assert CliRunner().invoke(app, [*command, "--help"]).exit_code == 0, command


def test_the_readme_shows_what_the_demo_answers(tmp_path: Path) -> None:
    """The demonstration in the README is its real output."""
    run = asyncio.run(run_demo(Settings(data_dir=tmp_path), silent))
    answer = json.loads(run.reply.data)["response"]
    shown = " ".join(
        " ".join(line.strip("│ ") for line in README.splitlines() if line.startswith("│")).split()
    )
    assert shown == answer


def test_the_event_type_of_the_how_to_works(tmp_path: Path) -> None:
    """The two files of the how-to, added to a copy of the package and nothing else, make a family that is dispatched."""
    page = (ROOT / "docs/how-to/add-an-event-type.md").read_text("utf-8")
    files = re.findall(r"`src/(expert_bot/[a-z_/]+\.py)`:\n\n```python\n(.*?)```", page, re.DOTALL)
    assert len(files) == 2
    shutil.copytree(ROOT / "src/expert_bot", tmp_path / "expert_bot")
    for path, code in files:
        (tmp_path / path).write_text(code, "utf-8")
    probe = (
        "from expert_bot.handlers import all_handlers\n"
        "from expert_bot.schemas.contract import asyncapi_document\n"
        "from expert_bot.schemas.topology import topology\n"
        "assert 'com.smarwatt.tip.requested.v1' in all_handlers()\n"
        "assert {'tip-requests', 'tip-replies'} <= {topic.name for topic in topology().topics}\n"
        "assert 'tip-requests' in asyncapi_document()['channels']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
