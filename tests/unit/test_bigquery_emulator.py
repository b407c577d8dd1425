"""Finding what the BigQuery emulator runs on, and saying what is missing where it is not there."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import bigquery_emulator
from tests.emulators import EmulatorMissingError


def script(path: Path, says: str, code: int = 0) -> Path:
    """Write a program that says something."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho '{says}'\nexit {code}\n")
    path.chmod(0o755)
    return path


@pytest.fixture(autouse=True)
def _bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.delenv("PYENV_ROOT", raising=False)


def test_a_python_on_the_path_is_taken(tmp_path: Path) -> None:
    """The first place to look is where everyone installs."""
    python = script(tmp_path / "bin" / "python3.13", "Python 3.13.2")
    assert str(python) == bigquery_emulator._find_python()


def test_a_shim_that_leads_nowhere_is_passed_over(tmp_path: Path) -> None:
    """Pyenv puts a shim on the path for every version anyone installed; the version itself lies below its root."""
    script(tmp_path / "bin" / "python3.13", "", code=127)
    script(tmp_path / "bin" / "pyenv", str(tmp_path / "pyenv"))
    python = script(tmp_path / "pyenv" / "versions" / "3.13.0" / "bin" / "python3.13", "Python 3.13.0")
    assert str(python) == bigquery_emulator._find_python()


def test_uvs_own_python_is_taken(tmp_path: Path) -> None:
    """Where only uv has one, uv says where."""
    python = script(tmp_path / "managed" / "python3.13", "Python 3.13.9")
    script(tmp_path / "bin" / "uv", str(python))
    assert str(python) == bigquery_emulator._find_python()


def test_without_that_python_it_is_said_how_to_get_it(tmp_path: Path) -> None:
    """Another version does not do: the lock file is for one."""
    script(tmp_path / "bin" / "python3.13", "Python 3.14.0")
    with pytest.raises(EmulatorMissingError, match=r"needs Python 3\.13: .*pyenv install 3\.13.*uv python"):
        bigquery_emulator._find_python()
