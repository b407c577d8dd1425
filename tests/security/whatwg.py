"""Where browsers go: the host of a web URL as the WHATWG URL Standard parses it, step by step, repairs included.

Shares no code with what it checks, and is never stricter than browsers: where the standard says more than is needed to
know the host (validity of international labels), it goes on.
"""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import unquote_to_bytes

import idna

_SCHEME = re.compile(r"(https?):", re.IGNORECASE | re.ASCII)
_FORBIDDEN = re.compile(r"[\x00-\x20#/:<>?@\[\\\]^|%\x7f]")
_MAX_PORT = 65535
_MAX_IPV4 = 2**32


def browser_host(url: str) -> str | None:
    """Return the host that a browser connects to (addresses in canonical form), None if it is no web URL to it."""
    text = url.strip("".join(map(chr, range(0x21))))
    text = re.sub(r"[\t\n\r]", "", text)
    scheme = _SCHEME.match(text)
    if scheme is None:
        return None
    after = text[scheme.end() :].lstrip("/\\")  # special authority (ignore) slashes state
    authority = re.split(r"[/\\?#]", after, maxsplit=1)[0]
    return _host_of(authority.rpartition("@")[2])


def _host_of(authority: str) -> str | None:
    """Host and port states; the first colon outside brackets ends the host."""
    inside = False
    for position, char in enumerate(authority):
        if char == ":" and not inside:
            port = authority[position + 1 :]
            if port and (re.fullmatch(r"[0-9]+", port, re.ASCII) is None or int(port) > _MAX_PORT):
                return None
            return _parse_host(authority[:position])
        inside = (inside or char == "[") and char != "]"
    return _parse_host(authority)


def _parse_host(text: str) -> str | None:
    """Host parser."""
    if text.startswith("["):
        try:
            return f"[{ipaddress.IPv6Address(text[1:-1])}]" if text.endswith("]") else None
        except ValueError:
            return None
    decoded = unquote_to_bytes(text.encode("utf-8", "surrogatepass")).decode("utf-8", "replace")
    try:
        host = _to_ascii(decoded)
    except (idna.IDNAError, UnicodeError):
        return None
    if not host or _FORBIDDEN.search(host):
        return None
    labels = host.removesuffix(".").split(".")
    return _parse_ipv4(labels) if _number(labels[-1]) is not None or labels[-1].isdigit() else host


def _to_ascii(domain: str) -> str:
    """Domain to ASCII, not strict: map, then punycode whatever is not ASCII."""
    labels = idna.uts46_remap(domain, std3_rules=False).split(".")
    return ".".join(
        label if label.isascii() else f"xn--{label.encode('punycode').decode('ascii')}" for label in labels
    )


def _parse_ipv4(labels: list[str]) -> str | None:
    """IPv4 parser: up to four numbers, decimal, octal or hexadecimal, the last one filling what is left."""
    numbers = [_number(label) for label in labels]
    known = [number for number in numbers if number is not None]
    if len(known) != len(numbers) or len(known) > 4 or any(number > 255 for number in known[:-1]):
        return None
    value = known[-1] + sum(number * 256 ** (3 - place) for place, number in enumerate(known[:-1]))
    fits = known[-1] < 256 ** (5 - len(known)) and value < _MAX_IPV4
    return str(ipaddress.IPv4Address(value)) if fits else None


def _number(label: str) -> int | None:
    """IPv4 number parser; None if it is none."""
    hexadecimal = re.fullmatch(r"0x([0-9a-f]*)", label)
    if hexadecimal:
        return int(hexadecimal[1] or "0", 16)
    if re.fullmatch(r"0[0-7]*", label):
        return int(label, 8)
    return int(label) if re.fullmatch(r"[1-9][0-9]*", label, re.ASCII) else None
