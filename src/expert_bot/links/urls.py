"""Safe URLs: what a link may lead to. Only what every parser reads the same way is accepted, in one canonical form.

Browsers repair URLs (they drop tabs and line ends, take a backslash for a slash, guess missing slashes); whoever checks
one reading and stores another is fooled. So there is nothing to repair here: a URL is taken apart once, by a grammar
narrower than RFC 3986 and the WHATWG URL Standard, and put together again from the parts that were checked.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from expert_bot.links.hosts import AllowedDomains, UnsafeUrlError, canonical_host
from expert_bot.schemas.events.link import MAX_URL_CHARS

_DEFAULT_PORTS: Final = {"http": "80", "https": "443"}
_PARTS: Final = re.compile(
    r"(?P<scheme>https?)://(?P<authority>[^/?#]*)(?P<path>[^?#]*)(?P<query>\?[^#]*)?(?P<fragment>#.*)?",
    re.IGNORECASE | re.ASCII,  # ASCII: the long s is no s
)
_NOT_IN_URLS: Final = re.compile(r"[^A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%\u0080-\U0010ffff]")
_BAD_ESCAPE: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE: Final = re.compile(r"%[0-9A-Fa-f]{2}")
_INVISIBLE: Final = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
_KEPT: Final = "/%:@!$&()*+,;=~-._"
_MAX_LAYERS: Final = 4


def safe_url(url: str, domains: AllowedDomains) -> str:
    """Return the canonical form of a URL that a link may lead to.

    Lower-case scheme and host, punycode, no default port, a path, nothing but ASCII; the canonical form of a canonical
    form is itself. Raises UnsafeUrlError, which says what is wrong and allowed.
    """
    _refuse_long(url)
    refuse_characters(url)
    parts = _PARTS.fullmatch(url)
    if parts is None:
        raise UnsafeUrlError("a link must start with https:// or http://")
    scheme = parts["scheme"].lower()
    name, port = split_port(without_userinfo(parts["authority"]))
    host = canonical_host(name)
    if not domains.allow(host):
        raise UnsafeUrlError(
            "the host must be one of the domains that links may lead to (EXPERT_BOT_LINK_DOMAINS)"
        )
    path, query, fragment = parts["path"] or "/", parts["query"] or "", parts["fragment"] or ""
    refuse_hidden_characters(path + query + fragment)
    refuse_path_tricks(path)
    canonical = "".join(
        (
            f"{scheme}://{host}",
            f":{port}" if port and port != _DEFAULT_PORTS[scheme] else "",
            quote(path, safe=f"{_KEPT}'"),
            quote(query, safe=f"{_KEPT}?"),  # browsers write a query's apostrophe as %27
            fragment[:1] + quote(fragment[1:], safe=f"{_KEPT}'?"),
        )
    )
    _refuse_long(canonical)
    return canonical


def refuse_characters(url: str) -> None:
    """Raise UnsafeUrlError for spaces, control and invisible characters, backslashes and what else no URL has."""
    if _NOT_IN_URLS.search(url) or not all(
        char.isascii() or not (char.isspace() or unicodedata.category(char) in _INVISIBLE) for char in url
    ):
        raise UnsafeUrlError(
            'a link must not have spaces, backslashes, control or invisible characters, or any of "<>^`{|}; write '
            "them as %XX where they are part of a path or a query"
        )


def without_userinfo(authority: str) -> str:
    """Return host and port. Raises UnsafeUrlError for a user name or password before them."""
    if "@" in authority:
        raise UnsafeUrlError("a link must not have a user name or password before its host")
    return authority


def split_port(authority: str) -> tuple[str, str]:
    """Return host and port (`""`: none is given). Raises UnsafeUrlError for another port than 80 and 443."""
    host, colon, port = authority.partition(":")
    if colon and port not in _DEFAULT_PORTS.values():
        raise UnsafeUrlError("a link's port must be 80 or 443, or left out")
    return host, port


def refuse_hidden_characters(text: str) -> None:
    """Raise UnsafeUrlError for %XX that are no UTF-8, or control or invisible characters once they are decoded."""
    if _BAD_ESCAPE.search(text):
        raise UnsafeUrlError("every % in a link must be followed by two hexadecimal digits")
    for decoded in _layers(text):
        if any(unicodedata.category(char) in _INVISIBLE for char in decoded):
            raise UnsafeUrlError(
                "a link must not have encoded control or invisible characters (such as %0D%0A)"
            )


def refuse_path_tricks(path: str) -> None:
    """Raise UnsafeUrlError for a path that a server behind the host might take for another, encoded or not.

    Such are empty segments (`//host` is an address of its own to whoever redirects to it), backslashes, `.` and `..`.
    """
    for layer in (path, *_layers(path)):
        if "\\" in layer or "//" in layer:
            raise UnsafeUrlError("a link's path must not have backslashes or two slashes in a row")
        if any(segment.partition(";")[0] in (".", "..") for segment in layer.split("/")):
            raise UnsafeUrlError("a link's path must not have the segments . and ..")


def _layers(text: str) -> Iterator[str]:
    """Yield text decoded once, twice and so on, until nothing is left to decode.

    Raises UnsafeUrlError if the first layer is no UTF-8 or there are too many.
    """
    for layer in range(_MAX_LAYERS):
        if _ESCAPE.search(text) is None:
            return
        try:
            text = unquote_to_bytes(text).decode("utf-8", "strict" if layer == 0 else "replace")
        except UnicodeDecodeError:  # it holds the text
            raise UnsafeUrlError("the %XX in a link must be UTF-8") from None
        yield text
    if _ESCAPE.search(text):
        raise UnsafeUrlError(f"a link must not be encoded more than {_MAX_LAYERS} times over")


def _refuse_long(url: str) -> None:
    if len(url) > MAX_URL_CHARS:
        raise UnsafeUrlError(f"a link must not be longer than {MAX_URL_CHARS} characters, as it is stored")
