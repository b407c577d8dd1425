"""CUPS: check letters and how a code is shown."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from expert_bot.energy import cups
from expert_bot.energy.cups import CupsError, is_cups, mask_cups, normalise_cups

VALID = "ES0291000000000001DN0F"


@pytest.fixture(scope="session")
def cases(shared_data: Path) -> dict[str, Any]:
    """Return the table of valid and invalid codes."""
    table: dict[str, Any] = json.loads((shared_data / "energy" / "cups" / "cups_cases.json").read_text())
    return table


def test_the_table_of_codes_is_judged_right(cases: dict[str, Any]) -> None:
    """Every valid code of the table is accepted, with blanks and lower case too; every other one is refused."""
    assert len(cases["valid"]) + len(cases["invalid"]) >= 12
    assert [code for code in cases["valid"] if not is_cups(code)] == []
    assert [code for code in cases["invalid"] if is_cups(code)] == []


def test_a_code_is_normalised() -> None:
    """Blanks go, letters become capitals, and the last two characters stay if they are there."""
    assert normalise_cups("es 0021 0000 0000 0001 rk 0f") == "ES0021000000000001RK0F"
    assert normalise_cups("ES0291000000000001DN") == "ES0291000000000001DN"


@pytest.mark.parametrize(
    ("message", "text"),
    [
        pytest.param("its check letters do not belong", "ES0291000000000001ND0F", id="letters swapped"),
        pytest.param("its check letters do not belong", "ES0291000000000002DN0F", id="another digit"),
        pytest.param("a CUPS is ES, 16 digits", "ES0291000000000001DN0A", id="no such meter"),
        pytest.param("a CUPS is ES, 16 digits", "ES0291000000000001DN0", id="21 characters"),
        pytest.param("a CUPS is ES, 16 digits", "ES029100000000000١DN0F", id="digits of another script"),
        pytest.param("a CUPS is ES, 16 digits", "PT0291000000000001DN0F", id="another country"),
        pytest.param("a CUPS is ES, 16 digits", "", id="nothing"),
    ],
)
def test_a_wrong_code_is_refused_without_repeating_it(message: str, text: str) -> None:
    """The reason says what a CUPS is; the code, which is about a person, is not in it."""
    with pytest.raises(CupsError, match=message) as caught:
        normalise_cups(text)
    assert not text or text not in str(caught.value)


@given(st.integers(min_value=0, max_value=10**16 - 1))
def test_exactly_one_pair_of_letters_belongs_to_a_number(number: int) -> None:
    """Of all 529 pairs one is right: that of the number modulo 529 in base 23."""
    letters = "TRWAGMYFPDXBNJZSQVHLCKE"
    right = letters[number % 529 // 23] + letters[number % 529 % 23]
    assert [right] == [
        first + second
        for first in letters
        for second in letters
        if is_cups(f"ES{number:016d}{first}{second}")
    ]


@pytest.mark.parametrize("mutant", [528, 530, 23])
def test_another_modulus_is_noticed(
    monkeypatch: pytest.MonkeyPatch, cases: dict[str, Any], mutant: int
) -> None:
    """The table tells the modulus 529 from its neighbours."""
    monkeypatch.setattr(cups, "_MODULUS", mutant)
    assert [code for code in cases["valid"] if not is_cups(code)] != []


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        pytest.param("ES0291**********01DN", VALID, id="22 characters"),
        pytest.param("ES0291**********01DN", "es0291 0000 0000 0001 dn", id="as typed"),
        pytest.param("**********", "ES02", id="too short to hide anything"),
        pytest.param("**********", "Calle Mayor 1, 28013 Madrid", id="no code"),
    ],
)
def test_a_code_is_shown_masked(shown: str, text: str) -> None:
    """Ten of the sixteen digits are hidden; what is no code is hidden whole."""
    assert shown == mask_cups(text)
