"""CUPS, the code of a Spanish supply point: check letters, and how it is shown."""

from __future__ import annotations

import re
from typing import Final

_LETTERS: Final = "TRWAGMYFPDXBNJZSQVHLCKE"
_MODULUS: Final = len(_LETTERS) ** 2
_CUPS: Final = re.compile(r"ES(\d{16})([A-Z]{2})(?:\d[FPRCXYZ])?", re.ASCII)
_SHOWN_FIRST: Final = 6
_SHOWN_LAST: Final = 4
_POINT_CHARS: Final = 20


class CupsError(ValueError):
    """A text that is no CUPS; the message says why, without the text."""


def normalise_cups(text: str) -> str:
    """Return a CUPS in upper case without blanks, 20 or 22 characters.

    Raises CupsError: wrong shape, or check letters that do not follow from its 16 digits (their value modulo 529 as
    two digits of base 23; RD 1110/2007, Orden of 1999 on the format of the code).
    """
    code = "".join(text.split()).upper()
    match = _CUPS.fullmatch(code)
    if match is None:
        raise CupsError(
            "a CUPS is ES, 16 digits, 2 check letters and, if it has 22 characters, a digit and one of F P R C X Y Z"
        )
    first, second = divmod(int(match[1]) % _MODULUS, len(_LETTERS))
    if match[2] != _LETTERS[first] + _LETTERS[second]:
        raise CupsError("its check letters do not belong to its digits")
    return code


def is_cups(text: str) -> bool:
    """Tell whether a text is a CUPS."""
    try:
        normalise_cups(text)
    except CupsError:
        return False
    return True


def mask_cups(text: str) -> str:
    """Return a code as it may be shown: country and distributor, then stars, then the last two digits and the letters."""
    code = "".join(text.split()).upper()[:_POINT_CHARS]
    if len(code) < _POINT_CHARS or not code.isascii() or not code.isalnum():
        return "*" * 10
    return code[:_SHOWN_FIRST] + "*" * (_POINT_CHARS - _SHOWN_FIRST - _SHOWN_LAST) + code[-_SHOWN_LAST:]
