"""Host names that a link may have: one canonical form, never an address or a name of an inner network, by label.

A host is judged in the form it is stored in: lower-case ASCII, international names in punycode (IDNA 2008, RFC 5891).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final, Self

import idna

from expert_bot.records import record

ANY_DOMAIN: Final = "*"
MAX_HOST_CHARS: Final = 253
_LOWER: Final = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ", "abcdefghijklmnopqrstuvwxyz")
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_LAST_LABEL: Final = re.compile(r"[a-z]{2,63}|xn--[a-z0-9-]+")
_LETTERS: Final = frozenset("àáâãäçèéêëìíîïñòóôõöùúûü·")
_INNER: Final = frozenset(
    {
        *("localhost", "localdomain", "local", "internal", "intranet", "private", "corp", "home", "lan"),
        *("test", "example", "invalid", "onion", "alt", "arpa"),
    }
)
"""Last labels that never lead to the public Internet (IANA's special-use names, and what inner networks use)."""


class UnsafeUrlError(ValueError):
    """A URL that no link may lead to; the message says what is wrong and allowed, and repeats nothing of the URL."""


@record()
class AllowedDomains:
    """Domains that links may lead to, each with its subdomains; `any_domain`: every public one."""

    names: frozenset[str]
    any_domain: bool = False

    @classmethod
    def parse(cls, entries: Collection[str]) -> Self:
        """Read domains as a setting has them; `*` is every public one.

        Raises ValueError that names the entry and what is allowed.
        """
        names = set[str]()
        for entry in entries:
            if entry != ANY_DOMAIN:
                try:
                    names.add(canonical_host(entry))
                except UnsafeUrlError as error:
                    raise ValueError(f"{entry!r}: {error}") from error
        return cls(frozenset(names), any_domain=ANY_DOMAIN in entries)

    def allow(self, host: str) -> bool:
        """Tell whether a canonical host is one of the domains or below one, label by label."""
        return self.any_domain or any(name in self.names for name in _itself_and_parents(host))


def canonical_host(text: str) -> str:
    """Return a host name as it is stored: lower case, punycode.

    Raises UnsafeUrlError for everything else: addresses in any notation, names without a dot or with an empty label (a
    dot at the end makes one), inner names, and letters that another could be taken for.
    """
    labels = [_canonical_label(label) for label in text.translate(_LOWER).split(".")]
    host = ".".join(labels)
    if len(labels) == 1 or len(host) > MAX_HOST_CHARS:
        raise UnsafeUrlError(
            f"the host must be a full domain name of at most {MAX_HOST_CHARS} characters, such as www.smarwatt.com"
        )
    refuse_addresses(labels)
    refuse_inner_names(labels)
    return host


def refuse_addresses(labels: list[str]) -> None:
    """Raise UnsafeUrlError if browsers take the host for an IPv4 address: its last label would be a number.

    Decimal, octal, hexadecimal and shortened notations all end in one; no public domain does (RFC 3696, section 2).
    """
    if _LAST_LABEL.fullmatch(labels[-1]) is None:
        raise UnsafeUrlError("the host must be a domain name, not an address")


def refuse_inner_names(labels: list[str]) -> None:
    """Raise UnsafeUrlError for names that lead into a machine or an inner network."""
    if labels[-1] in _INNER:
        raise UnsafeUrlError(
            "the host must be a public domain name, not one of this machine or an inner network"
        )


def refuse_foreign_letters(label: str) -> None:
    """Raise UnsafeUrlError unless every letter is ASCII or one that the languages of Spain's neighbourhood write.

    Scripts cannot be mixed, and look-alikes of Latin letters cannot be used, because there is no other letter to use.
    """
    if not all(letter.isascii() or letter in _LETTERS for letter in label):
        raise UnsafeUrlError("the host may have ASCII letters and those of western European languages only")


def _canonical_label(label: str) -> str:
    try:
        name = label
        if not label.isascii():
            name = idna.alabel(label).decode("ascii")
        if name.startswith("xn--"):
            # decoding refuses punycode in another than its canonical form
            refuse_foreign_letters(idna.ulabel(name))
    except UnicodeError:  # idna's errors are of this class, too; their messages repeat the host
        raise UnsafeUrlError("the host is not a valid international domain name") from None
    if _LABEL.fullmatch(name) is None:
        raise UnsafeUrlError(
            "the host's labels must be 1 to 63 letters, digits or hyphens between dots, with no dot at the end"
        )
    return name


def _itself_and_parents(host: str) -> Iterator[str]:
    while host:
        yield host
        host = host.partition(".")[2]
