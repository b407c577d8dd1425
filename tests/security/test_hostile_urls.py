"""Hostile URLs: none becomes a link; good ones all do, stored as browsers read them; no rule can be left out."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import idna
import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from expert_bot.links import hosts, urls
from expert_bot.links.hosts import AllowedDomains, UnsafeUrlError
from expert_bot.links.urls import safe_url
from tests.security.whatwg import browser_host

HERE = Path(__file__).parent
OURS = AllowedDomains.parse(["smarwatt.com"])
ANY = AllowedDomains.parse(["*"])
GROUPS: list[dict[str, Any]] = json.loads((HERE / "hostile_urls.json").read_text("utf-8"))
GOOD: dict[str, str] = {
    each["url"]: each["stored"] for each in json.loads((HERE / "good_urls.json").read_text("utf-8"))
}
HOSTILE = [url for group in GROUPS for url in group["urls"]]
PIECES = (
    *("@", "\\", "/", "//", ":", ".", "..", "#", "?", "[", "]", ";", " ", "\t", "\n", "\x00", "-", "_", "1", "%", "ñ"),
    *("%00", "%2e", "%2F", "%5C", "%40", "%252F", ":443", ":80", ":22", "xn--", "127.0.0.1", "0x7f", "localhost"),
    *("evil.com", "smarwatt.com", "@evil.com", ".evil.com", "https://"),
    *("\u3002", "\uff0e", "\uff0f", "\u2025", "\u2100", "\u017f", "\u212a", "\u200b", "\u0663", "\u0430", "\u0130"),
)  # fmt: skip


def accepted(refusal: type[ValueError] = UnsafeUrlError) -> list[str]:
    """Return the hostile URLs that are accepted, where they must not be. `refusal`: the error that says no."""
    return [
        url
        for group in GROUPS
        for url in group["urls"]
        for domains in ((OURS, ANY) if group["refused"] == "everywhere" else (OURS,))
        if is_accepted(url, domains, refusal)
    ]


def is_accepted(url: str, domains: AllowedDomains, refusal: type[ValueError] = UnsafeUrlError) -> bool:
    """Tell whether a URL may become a link."""
    try:
        safe_url(url, domains)
    except refusal:
        return False
    return True


def is_ours(host: str | None) -> bool:
    """Tell by a rule of the test's own whether a host is one that links may lead to."""
    return host is not None and re.fullmatch(r"(?:[a-z0-9-]+\.)*smarwatt\.com", host) is not None


def test_the_corpora_are_large_and_have_no_copies() -> None:
    """At least 300 hostile and 100 good URLs."""
    assert len(HOSTILE) == len(set(HOSTILE)) >= 300
    assert len(GOOD) >= 100
    assert not set(HOSTILE) & set(GOOD)


def test_no_hostile_url_is_accepted() -> None:
    """Whatever is wrong with it; what is not wrong by its domain alone is refused wherever links may lead to."""
    assert accepted() == []


@pytest.mark.parametrize("domains", [OURS, ANY], ids=["own domain", "any domain"])
def test_every_good_url_is_stored_in_its_canonical_form(domains: AllowedDomains) -> None:
    """And the canonical form of that is itself."""
    assert {url: safe_url(url, domains) for url in GOOD} == GOOD
    assert {stored: safe_url(stored, domains) for stored in GOOD.values()} == {
        stored: stored for stored in GOOD.values()
    }


@pytest.mark.parametrize(
    ("host", "url"),
    [
        pytest.param("evil.com", "https:/\\evil.com", id="slashes repaired"),
        pytest.param("evil.com", "\thttps://ev\nil.com", id="tabs and line ends dropped"),
        pytest.param("evil.com", "https://evil.com\\@smarwatt.com", id="a backslash is a slash"),
        pytest.param("evil.com", "https://a@b@evil.com:81/", id="the last at sign"),
        pytest.param("evil.com", "https://%65vil\uff0ecom", id="decoded and mapped"),
        pytest.param("evil.com.", "https://evil.com./", id="a dot at the end stays"),
        pytest.param("127.0.0.1", "https://0x7f.1", id="hexadecimal, short"),
        pytest.param("127.0.0.1", "https://017700000001", id="octal"),
        pytest.param("[::1]", "https://[0:0::1]:443", id="IPv6"),
        pytest.param("xn--energa-7va.es", "https://ENERGÍA.es", id="punycode"),
        pytest.param(None, "https://a.1", id="neither a name nor an address"),
        pytest.param(None, "https://evil.com:70000", id="no port"),
        pytest.param(None, "https://", id="no host"),
        pytest.param(None, "ftp://evil.com", id="no web URL"),
    ],
)
def test_the_yardstick_reads_hosts_as_browsers_do(host: str | None, url: str) -> None:
    """What the rules are measured by can see the tricks that they have to refuse."""
    assert browser_host(url) == host


edits = st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2), st.sampled_from(PIECES)), max_size=3)


@settings(deadline=None, max_examples=1500)
@given(
    url=st.sampled_from(list(GOOD)) | st.sampled_from(HOSTILE),
    edits=edits,
    domains=st.sampled_from([OURS, ANY]),
)
def test_what_is_accepted_leads_browsers_to_the_host_that_was_checked(
    url: str, edits: list[tuple[int, int, str]], domains: AllowedDomains
) -> None:
    """From the URL as given and as stored alike; storing it again changes nothing."""
    for place, dropped, piece in edits:
        url = url[:place] + piece + url[place + dropped :]
    try:
        stored = safe_url(url, domains)
    except UnsafeUrlError:
        event("refused")
        return
    event("accepted")
    host = stored.split("/")[2].partition(":")[0]
    assert browser_host(url) == browser_host(stored) == host
    assert domains is ANY or is_ours(host)
    assert not re.fullmatch(r"[0-9.]+|\[.*\]", host)
    assert safe_url(stored, domains) == stored
    assert stored.isascii()
    assert stored.isprintable()


@settings(deadline=None)
@given(
    text=st.text(max_size=80), before=st.sampled_from(["", "https://", "https://smarwatt.com", "http://a."])
)
def test_any_text_is_either_refused_or_leads_to_us(text: str, before: str) -> None:
    """Nothing else happens, whatever is in it."""
    if is_accepted(before + text, OURS):
        assert is_ours(browser_host(before + text))


@pytest.mark.parametrize(
    "url",
    [
        "https://canary:canary@smarwatt.com/",
        "https://canary.evil.com/canary?token=canary#canary",
        "https://c\u0430nary.smarwatt.com/",
        "https://xn--canary-.smarwatt.com/",
        "https://canary_.smarwatt.com/",
        "https://smarwatt.com:canary/",
        "https://smarwatt.com/canary%0d",
        "https://smarwatt.com/canary%ff",
        "https://smarwatt.com//canary",
        "canary://smarwatt.com/",
        "https://smarwatt.com/?canary ",
        "https://canary.localhost/",
    ],
)
def test_a_refusal_repeats_nothing_of_the_url(url: str) -> None:
    """A URL may hold secrets; the reason goes to logs and dead letters, and so does what caused it."""
    with pytest.raises(UnsafeUrlError) as refused:
        safe_url(url, OURS)
    assert "nary" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_long_url_takes_no_time_to_refuse() -> None:
    """Thousands of dots, escapes or letters of other scripts do not keep a worker busy."""
    started = time.process_time()
    for piece in (".", "a.", "%25", "%2525", "\u0301", "\u4e2d", "\u00f1", "@", ":", "/", "//", "[", "xn--"):
        for start in ("https://", "https://smarwatt.com/"):
            is_accepted(start + piece * (2000 // len(piece)), ANY)
    assert time.process_time() - started < 0.5


def suffix_instead_of_label(domains: AllowedDomains, host: str) -> bool:
    """Break the rule: compare the ends of texts."""
    return domains.any_domain or host.endswith(tuple(domains.names))


def nothing(*_: object) -> None:
    """Break a rule: refuse nothing."""


def before_canonical(change: Callable[[str], str]) -> Callable[[str], str]:
    """Break a rule: repair a host before it is looked at, as a browser would."""
    return lambda text: hosts.canonical_host(change(text))


MUTANTS: dict[str, tuple[object, str, object]] = {
    "suffix instead of label": (AllowedDomains, "allow", suffix_instead_of_label),
    "user name and password dropped": (urls, "without_userinfo", lambda text: text.rpartition("@")[2]),
    "addresses": (hosts, "refuse_addresses", nothing),
    "inner names": (hosts, "refuse_inner_names", nothing),
    "letters of other scripts": (hosts, "refuse_foreign_letters", nothing),
    "any port": (urls, "split_port", lambda text: (text.partition(":")[0], text.partition(":")[2])),
    "any scheme": (urls, "_PARTS", re.compile(urls._PARTS.pattern.replace("https?", "https?|ftp"))),
    "any letter in the scheme": (urls, "_PARTS", re.compile(urls._PARTS.pattern, re.IGNORECASE)),
    "any number of slashes": (urls, "_PARTS", re.compile(urls._PARTS.pattern.replace("://", ":/*"))),
    "any character": (urls, "refuse_characters", nothing),
    "hidden characters": (urls, "refuse_hidden_characters", nothing),
    "paths": (urls, "refuse_path_tricks", nothing),
    "decoded once only": (urls, "_layers", lambda text: iter([unquote(text)])),
    "any length": (urls, "_refuse_long", nothing),
    "host decoded": (urls, "canonical_host", before_canonical(unquote)),
    "host mapped": (urls, "canonical_host", before_canonical(lambda text: idna.uts46_remap(text, std3_rules=False))),
    "lower case of any script": (urls, "canonical_host", before_canonical(str.lower)),
    "dot at the end": (urls, "canonical_host", before_canonical(lambda text: text.removesuffix("."))),
}  # fmt: skip


@pytest.mark.parametrize("mutant", MUTANTS)
def test_leaving_out_any_rule_lets_a_hostile_url_through(
    mutant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rule is there for a URL of the corpus that nothing else stops."""
    owner, name, broken = MUTANTS[mutant]
    monkeypatch.setattr(owner, name, broken)
    assert accepted(ValueError) != []  # a broken rule may let through what then breaks something else
