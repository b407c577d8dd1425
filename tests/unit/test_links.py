"""Links: allowed domains, ids that nobody guesses, how long a link lives, and one answer for all that lead nowhere."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expert_bot.app import link_rules
from expert_bot.config import Mode, Settings, load_settings
from expert_bot.errors import SettingError
from expert_bot.links.hosts import AllowedDomains
from expert_bot.links.ids import LinkIds
from expert_bot.links.stored import Link, LinkRules, WhyNot, created, expiry, link_key, resolve
from expert_bot.links.urls import safe_url
from expert_bot.ports import Document, Update, Value
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.link import LINK_ID_PATTERN
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.pseudonyms import Pseudonyms

SECRET = bytes(range(32))
AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
END = AT + timedelta(days=1)
INSTANT = timedelta(microseconds=1)
OURS = AllowedDomains.parse(["smarwatt.com"])
EVENT = CloudEvent(id="e-1", source="//energy-ia", type="com.smarwatt.link.requested.v1", data=b"")
LINK = Link(
    link_id="4Gk2mZ0xQw7B",
    url="https://www.smarwatt.com/ayuda",
    user_id="user-ana",
    purpose="help",
    created_at=AT,
    expires_at=END,
)
CLOUD = Settings(mode=Mode.CLOUD, pseudonym_key="k" * 32)


async def stored(**changes: Value) -> Document:
    """Return a link as it is stored, with changes."""
    documents = MemoryDocuments()
    await documents.commit([created(LINK, EVENT)])
    if changes:
        await documents.commit([Update(link_key(LINK.link_id), changes)])
    document = await documents.get(link_key(LINK.link_id))
    assert document is not None
    return document


async def test_a_link_is_stored_with_its_owner_and_the_request_it_is_for() -> None:
    """Every field that the routes and the owner's statistics need."""
    assert (await stored()).fields == {
        "url": "https://www.smarwatt.com/ayuda",
        "user_id": "user-ana",
        "purpose": "help",
        "created_at": AT,
        "expires_at": END,
        "disabled": False,
        "clicks": 0,
        "event_source": "//energy-ia",
        "event_id": "e-1",
    }


@pytest.mark.parametrize("now", [AT, END - INSTANT], ids=["at once", "the last instant"])
async def test_a_link_leads_to_its_url_until_it_expires(now: datetime) -> None:
    """The URL that was checked and stored, to the letter."""
    assert resolve(await stored(), now, OURS) == "https://www.smarwatt.com/ayuda"


@pytest.mark.parametrize(
    ("why", "changes", "now"),
    [
        pytest.param(WhyNot.EXPIRED, {}, END, id="at its end"),
        pytest.param(WhyNot.EXPIRED, {}, END + timedelta(days=900), id="long after"),
        pytest.param(WhyNot.EXPIRED, {"expires_at": None}, AT, id="no end known"),
        pytest.param(WhyNot.DISABLED, {"disabled": True}, AT, id="disabled"),
        pytest.param(WhyNot.DISABLED, {"disabled": None}, AT, id="not known to be enabled"),
        pytest.param(WhyNot.DISABLED, {"disabled": True}, END, id="disabled and expired"),
        pytest.param(WhyNot.UNSAFE, {"url": "https://evil.com/"}, AT, id="another domain"),
        pytest.param(WhyNot.UNSAFE, {"url": None}, AT, id="no URL"),
    ],
)
async def test_a_link_that_is_over_leads_nowhere(
    why: WhyNot, changes: Mapping[str, Value], now: datetime
) -> None:
    """Its owner may learn why."""
    assert resolve(await stored(**changes), now, OURS) is why


def test_an_id_that_nobody_made_leads_nowhere() -> None:
    """There is no document."""
    assert resolve(None, AT, OURS) is WhyNot.UNKNOWN


async def test_a_domain_that_is_allowed_no_longer_is_not_led_to() -> None:
    """The list that counts is that of the moment."""
    assert resolve(await stored(), AT, AllowedDomains.parse(["example.org"])) is WhyNot.UNSAFE


@pytest.mark.parametrize(
    ("end", "wanted"),
    [
        pytest.param(AT + timedelta(days=90), None, id="none is wanted"),
        pytest.param(AT + INSTANT, AT + INSTANT, id="the shortest"),
        pytest.param(AT + timedelta(days=1830), AT + timedelta(days=1830), id="the longest"),
    ],
)
def test_a_link_expires_when_it_is_wanted_to(end: datetime, wanted: datetime | None) -> None:
    """After 90 days if nothing is said."""
    assert expiry(AT, wanted) == end


@pytest.mark.parametrize(
    "wanted",
    [AT, AT - timedelta(days=1), AT + timedelta(days=1830) + INSTANT],
    ids=["at once", "in the past", "too late"],
)
def test_a_link_cannot_be_born_dead_or_live_forever(wanted: datetime) -> None:
    """The refusal says what is allowed."""
    with pytest.raises(ValueError, match="later than the request's time, by at most 1830 days"):
        expiry(AT, wanted)


def test_the_id_of_a_request_is_always_the_same() -> None:
    """A redelivered event finds its link, in every worker and after every restart; the value was computed apart."""
    assert LinkIds(SECRET)("//energy-ia", "e-1", 0) == "pqzqxQ6WcuXZ"


def test_ids_differ_by_source_event_attempt_and_key() -> None:
    """What is another request, another try or another key is another id."""
    ids = {
        LinkIds(secret)(source, event, attempt)
        for secret in (SECRET, bytes(32))
        for source in ("//energy-ia", "//energy-i", "a e")
        for event in ("e-1", "ae-1", "e-1 0", "")
        for attempt in (0, 1, 10)
    }
    assert len(ids) == 2 * 3 * 4 * 3


def test_ids_are_base62_with_every_character_as_likely_at_every_place() -> None:
    """71 bits that look like chance: nothing of the request shows."""
    make_id = LinkIds(SECRET)
    ids = [make_id("//energy-ia", f"e-{number}", 0) for number in range(6200)]
    assert all(re.fullmatch(LINK_ID_PATTERN, each) and len(each) == 12 for each in ids)
    assert len(set(ids)) == 6200
    for place in range(12):
        counts = [sum(each[place] == char for each in ids) for char in {each[place] for each in ids}]
        assert len(counts) == 62
        assert 50 < min(counts) <= max(counts) < 160


def test_the_key_of_ids_is_not_the_key_of_pseudonyms() -> None:
    """No pseudonym of any user id says anything about a link's id, though both come from one secret."""
    make_id = LinkIds(SECRET)
    assert make_id._key != SECRET
    assert Pseudonyms(SECRET)("expert-bot link ids 1") != make_id._key.hex()[:32]


def test_a_short_secret_is_refused() -> None:
    """A secret that could be guessed is none."""
    with pytest.raises(ValueError, match="at least 32 bytes, not 31"):
        LinkIds(SECRET[:31])


def test_an_international_domain_may_be_allowed_by_its_readable_name() -> None:
    """It is the same domain in punycode; what only looks like it is not."""
    domains = AllowedDomains.parse(["Energía.es", "smarwatt.com"])
    assert domains == AllowedDomains.parse(["xn--energa-7va.es", "smarwatt.com"])
    assert safe_url("https://www.energía.es/luz", domains) == "https://www.xn--energa-7va.es/luz"
    with pytest.raises(ValueError, match="one of the domains"):
        safe_url("https://energia.es/luz", domains)


@pytest.mark.parametrize(
    "entry",
    ["com", "localhost", "*.smarwatt.com", "https://smarwatt.com", "smarwatt.com:443", "10.0.0.1", "a.internal", ".com", "smarwatt.com.", "sm\u0430rwatt.com"],
)  # fmt: skip
def test_a_domain_that_no_link_may_lead_to_is_no_setting(
    entry: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The service does not start, and says which entry is wrong."""
    monkeypatch.setenv("EXPERT_BOT_LINK_DOMAINS", f"smarwatt.com, {entry}")
    monkeypatch.setenv("EXPERT_BOT_DATA_DIR", str(tmp_path))
    with pytest.raises(SettingError, match="EXPERT_BOT_LINK_DOMAINS") as refused:
        link_rules(load_settings())
    assert repr(entry) in str(refused.value)


def test_anywhere_needs_to_be_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    """A star alone is not enough: links that lead anywhere lend the service's name to everybody."""
    monkeypatch.setenv("EXPERT_BOT_LINK_DOMAINS", "*")
    with pytest.raises(SettingError, match="EXPERT_BOT_LINK_ANY_DOMAIN=true"):
        load_settings()
    monkeypatch.setenv("EXPERT_BOT_LINK_ANY_DOMAIN", "true")
    assert AllowedDomains.parse(load_settings().link_domains).allow("example.org")


@pytest.mark.parametrize(
    "url",
    ["bot.smarwatt.com", "https://bot.smarwatt.com/", "https://b.com?x", "https://u@b.com", "ftp://b.com", "https://b.com/a b"],
)  # fmt: skip
def test_a_public_url_is_checked(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An id is put after it: it must be a URL without slash, query or user name at its end."""
    monkeypatch.setenv("EXPERT_BOT_PUBLIC_URL", url)
    with pytest.raises(SettingError, match="EXPERT_BOT_PUBLIC_URL"):
        load_settings()


def test_short_links_of_the_cloud_are_https(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who follows one is not to be led astray on the way."""
    for name, value in {
        "EXPERT_BOT_MODE": "cloud",
        "GOOGLE_CLOUD_PROJECT": "my-project",
        "EXPERT_BOT_ALLOWED_SOURCES": "//energy-ia",
        "EXPERT_BOT_PSEUDONYM_KEY": "k" * 32,
        "EXPERT_BOT_PUBLIC_URL": "http://bot.smarwatt.com",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SettingError, match="must start with https://"):
        load_settings()


def test_short_urls_start_with_the_public_url() -> None:
    """And lead to the route that resolves them."""
    rules = link_rules(CLOUD.model_copy(update={"public_url": "https://bot.smarwatt.com/x"}))
    assert isinstance(rules, LinkRules)
    assert rules.short_url("4Gk2mZ0xQw7B") == "https://bot.smarwatt.com/x/api/v1/links/resolve/4Gk2mZ0xQw7B"


def test_without_a_public_url_there_are_links_on_this_machine_only(tmp_path: Path) -> None:
    """In the cloud nobody can know where the service is reached: it makes none."""
    assert link_rules(CLOUD) is None
    rules = link_rules(Settings(data_dir=tmp_path))
    assert rules is not None
    assert rules.short_url("x") == "http://127.0.0.1:8080/api/v1/links/resolve/x"
    assert rules.domains == OURS
