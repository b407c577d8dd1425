"""The programs that the documents show do what the documents say, run as a reader would run them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import uuid
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest

import expert_bot
from expert_bot.energy.formats.household import write_household_csv
from expert_bot.energy.simulation import simulate_household
from tests.docs.documents import README, ROOT, blocks, reader_environment, run

COMMAND = [sys.executable, "-m", "expert_bot"]
TUTORIAL = ROOT / "docs/tutorial.md"
EVENT_TYPE = ROOT / "docs/how-to/add-an-event-type.md"


def test_the_tutorial_ends_where_it_says(tmp_path: Path) -> None:
    """Its file is imported with the report it shows, and its question has the answer it shows."""
    (curve,) = re.findall(r"<<'CSV'\n(.*?)CSV\n", "".join(blocks(TUTORIAL, "console")), flags=re.DOTALL)
    (tmp_path / "curve.csv").write_text(curve, "utf-8")
    env = reader_environment(tmp_path)
    reported = run([*COMMAND, "import", "consumption", "curve.csv", "--user", "me"], folder=tmp_path, env=env)
    assert blocks(TUTORIAL, "text import") == [reported]
    question = "¿Cuánto consumí en abril de 2023?"
    asked = json.loads(run([*COMMAND, "ask", question, "--user", "me", "--json"], folder=tmp_path, env=env))
    (answer,) = blocks(TUTORIAL, "text ask")
    assert " ".join(answer.split()) == asked["reply"]["data"]["response"]


def test_the_example_of_a_new_event_type_works(tmp_path: Path) -> None:
    """Its two files, put into a copy of the package, answer its program with the output it shows."""
    package = tmp_path / "src/expert_bot"
    shutil.copytree(Path(expert_bot.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    text = EVENT_TYPE.read_text("utf-8")
    files = re.findall(r"^`(src/[^`]+)`:\n\n```python\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    assert len(files) == 2
    for path, content in files:
        (tmp_path / path).write_text(content, "utf-8")
    (tmp_path / "program.py").write_text(blocks(EVENT_TYPE, "python")[-1], "utf-8")
    env = reader_environment(tmp_path, PYTHONPATH=str(tmp_path / "src"))
    assert blocks(EVENT_TYPE, "text output") == [
        run([sys.executable, "program.py"], folder=tmp_path, env=env)
    ]


@pytest.mark.emulator
def test_the_readmes_client_gets_its_answer(
    tmp_path: Path, pubsub_emulator: str, firestore_emulator: str
) -> None:
    """A plain Pub/Sub client that knows only the contract asks a worker and prints the exact figure."""
    readings = simulate_household(until=date(2023, 4, 30), months=2)
    (tmp_path / "home.csv").write_bytes(b"".join(write_household_csv(readings)))
    (client,) = blocks(README, "python")
    (tmp_path / "client.py").write_text(client, "utf-8")
    env = reader_environment(
        tmp_path,
        EXPERT_BOT_MODE="emulators",
        PUBSUB_EMULATOR_HOST=pubsub_emulator,
        FIRESTORE_EMULATOR_HOST=firestore_emulator,
        GOOGLE_CLOUD_PROJECT=f"docs-{uuid.uuid4().hex[:12]}",
    )
    run([*COMMAND, "topics", "apply"], folder=tmp_path, env=env)
    run([*COMMAND, "import", "consumption", "home.csv", "--user", "home4"], folder=tmp_path, env=env)
    with subprocess.Popen([*COMMAND, "work"], cwd=tmp_path, env=env, stderr=subprocess.DEVNULL) as worker:
        try:
            printed = run([sys.executable, "client.py"], folder=tmp_path, env=env)
        finally:
            worker.terminate()
    april_kwh = sum((each.energy_kwh for each in readings if each.local_date.month == 4), Decimal(0))
    assert printed.startswith(f"En abril de 2023 consumiste {str(april_kwh).replace('.', ',')} kWh")
