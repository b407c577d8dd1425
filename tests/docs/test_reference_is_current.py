"""Reference pages say what the code does: generated tables by comparison, the command line by its parser."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from expert_bot.__main__ import app
from expert_bot.http.callers import Callers
from expert_bot.http.cross_service import cross_service_routes
from expert_bot.http.energy_routes import energy_routes
from expert_bot.http.health import Readiness, health_routes
from expert_bot.http.links_routes import links_routes
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import accept_all
from expert_bot.http.tasks_routes import tasks_routes
from expert_bot.ingest import ImportReport
from expert_bot.show import import_report
from tests.docs.documents import README, ROOT, prose

CLI = ROOT / "docs/reference/cli.md"


def check(root: Path) -> tuple[int, str]:
    """Check the generated tables below a root; return exit code and what was said."""
    ran = subprocess.run(
        [sys.executable, root / "docs/generate.py", "--check"], capture_output=True, check=False, text=True
    )
    return ran.returncode, ran.stderr


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    """Copy README and documents to a folder of the test's own."""
    shutil.copytree(ROOT / "docs", tmp_path / "docs", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(README, tmp_path)
    return tmp_path


def test_the_generated_tables_are_current() -> None:
    """What the documents say of settings, events and reasons is what the code says."""
    assert check(ROOT) == (0, "")


@pytest.mark.parametrize(
    ("path", "cell"),
    [
        pytest.param("README.md", "`EXPERT_BOT_MAX_ATTEMPTS` | `10`", id="default"),
        pytest.param("README.md", "`chat-requests` | `conversation_id`", id="ordering key"),
        pytest.param("docs/reference/settings.md", "whole number 1..19", id="allowed values"),
        pytest.param("docs/reference/errors.md", "`unknown-type` |", id="reason"),
        pytest.param("docs/reference/events.md", "`user_id` | string | yes", id="member"),
    ],
)
def test_an_outdated_table_is_told_and_written_anew(path: str, cell: str, copied: Path) -> None:
    """A cell that differs from the code names its file; writing makes the document what it was."""
    current = (copied / path).read_text("utf-8")
    assert cell in current
    (copied / path).write_text(current.replace(cell, "something else |"), "utf-8")
    code, said = check(copied)
    assert (code, path in said) == (1, True)
    subprocess.run([sys.executable, copied / "docs/generate.py"], capture_output=True, check=True)
    assert current == (copied / path).read_text("utf-8")


def commands(group: Any, name: str) -> dict[str, Any]:
    """Return every command below a group by its full name."""
    found: dict[str, Any] = {}
    for part, command in group.commands.items():
        full = f"{name} {part}"
        found |= commands(command, full) if hasattr(command, "commands") else {full: command}
    return found


PARSER = typer.main.get_command(app)
COMMANDS = {"expert-bot": PARSER, **commands(PARSER, "expert-bot")}
SECTIONS = {
    section.partition("\n")[0]: section for section in re.split(r"^## ", prose(CLI), flags=re.MULTILINE)[1:]
}


def test_every_command_has_a_section() -> None:
    """No command is missing from the reference, and none is left that no longer exists."""
    assert set(COMMANDS) == {title for title in SECTIONS if title.startswith("expert-bot")}


@pytest.mark.parametrize("name", COMMANDS)
def test_every_option_is_in_its_commands_section(name: str) -> None:
    """The options of a section are those that the parser knows."""
    known = {
        option for parameter in COMMANDS[name].params for option in parameter.opts if option.startswith("--")
    }
    told = {
        option
        for line in SECTIONS[name].splitlines()
        if line.startswith("| `--")
        for option in re.findall(r"`(--[a-z-]+)`", line.split("|")[1])
    }
    assert known - {"--help"} == told


def test_the_members_of_an_import_report_are_told() -> None:
    """Scripts can rely on the members that the reference names."""
    report = import_report(
        ImportReport(
            rows_read=0, accepted=0, rejected=(), also_read=(), notes=(), inserted=0, changed=0, unchanged=0,
            first_day=None, last_day=None, profile_changed=False,
        )
    )  # fmt: skip
    told = set(re.findall(r"`([a-z_]+)`", SECTIONS["expert-bot import consumption"]))
    assert set(report) <= told


LINK_NEEDS = ("documents", "requests", "make_context", "clock", "clicks")


def test_the_readme_lists_the_routes_that_exist() -> None:
    """Route by route: no more and no fewer."""
    nobody = Callers(None, None)  # type: ignore[arg-type]  # never called, like all of these
    routes = [
        *health_routes(Readiness({}), {}),
        *tasks_routes(nobody, documents=None, requests=None, clock=None),  # type: ignore[arg-type]
        *energy_routes(nobody, documents=None, analytics=None, clock=None, confirmed={}),  # type: ignore[arg-type]
        *links_routes(nobody, rules=None, **dict.fromkeys(LINK_NEEDS)),  # type: ignore[arg-type]
        *cross_service_routes(nobody, answer=None, identity=None, clock=None, source=""),  # type: ignore[arg-type]
        *push_routes(None, (), 1.0, authenticate=accept_all),  # type: ignore[arg-type]
    ]
    told = re.findall(r"^\| `([A-Z]+ /[^`]+)` \|", prose(README), flags=re.MULTILINE)
    assert [f"{route.method} {route.path}" for route in routes] == told
