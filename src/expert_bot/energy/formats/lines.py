"""The lines of an uploaded file, within the size limit, whatever its line ends."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from io import IOBase
from itertools import chain
from typing import Final

from expert_bot.errors import UsageError

MAX_BYTES: Final = 32 * 1024 * 1024
MAX_LINE_BYTES: Final = 8192
_BOM: Final = b"\xef\xbb\xbf"
_CHUNK: Final = 64 * 1024


class Content:
    """A file whose beginning may be looked at before it is read. `source`: a binary stream or any iterable of bytes."""

    def __init__(self, source: Iterable[bytes]) -> None:
        self._chunks = _within_limit(_chunks(source))
        self._seen: list[bytes] = []

    def first_byte(self) -> bytes:
        """Return the first byte that is no blank and no byte order mark; empty for a blank file."""
        for chunk in self._chunks:
            start = (chunk if self._seen else chunk.removeprefix(_BOM)).lstrip()
            self._seen.append(chunk)
            if start:
                return start[:1]
        return b""

    def whole(self) -> bytes:
        """Return everything, without byte order mark."""
        return b"".join(chain(self._seen, self._chunks)).removeprefix(_BOM)

    def lines(self) -> Iterator[tuple[int, bytes]]:
        """Yield the lines that are not blank, stripped, with their numbers from 1."""
        for number, line in enumerate(self._raw_lines(), start=1):
            content = (line.removeprefix(_BOM) if number == 1 else line).strip()
            if len(content) > MAX_LINE_BYTES:
                raise UsageError(
                    f"line {number} has more than {MAX_LINE_BYTES} bytes: no file of hours has such lines"
                )
            if content:
                yield number, content

    def _raw_lines(self) -> Iterator[bytes]:
        pieces: list[bytes] = []
        for chunk in _with_newlines(chain(self._seen, self._chunks)):
            first, *others = chunk.split(b"\n")
            pieces.append(first)
            if others:
                yield b"".join(pieces)
                yield from others[:-1]
                pieces = others[-1:]
        yield b"".join(pieces)


def _chunks(source: Iterable[bytes]) -> Iterator[bytes]:
    if not isinstance(source, IOBase):
        return iter(source)
    return iter(lambda: source.read(_CHUNK), b"")  # a progress bar's wrapper is slow line by line


def _with_newlines(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the same lines, each ended by LF instead of CR LF, CR or LF."""
    held = b""
    for chunk in chunks:
        text = held + chunk
        held = b"\r" if text.endswith(b"\r") else b""  # its LF may be the first byte of the next chunk
        yield text[: len(text) - len(held)].replace(b"\r\n", b"\n").replace(b"\r", b"\n")


def _within_limit(chunks: Iterator[bytes]) -> Iterator[bytes]:
    left = MAX_BYTES
    for chunk in chunks:
        left -= len(chunk)
        if left < 0:
            raise UsageError(f"the file is larger than {MAX_BYTES // 1024 // 1024} MiB: split it")
        yield chunk
