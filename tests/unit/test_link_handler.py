"""The handler of link requests: one link per request, whatever comes twice, and refusals that give nothing away."""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from expert_bot.errors import PermanentError, PreconditionFailedError
from expert_bot.handlers import Context, Result
from expert_bot.handlers.link_requested import CREATED, HANDLES, handle
from expert_bot.links.hosts import AllowedDomains
from expert_bot.links.ids import LinkIds
from expert_bot.links.stored import LinkRules, link_key
from expert_bot.ports import Update
from expert_bot.schemas.events.link import LinkCreated, LinkRequested
from tests.unit.handler_world import ASKED_AT, HandlerWorld

RULES = LinkRules(
    domains=AllowedDomains.parse(["smarwatt.com"]),
    make_id=LinkIds(bytes(32)),
    public_url="https://bot.smarwatt.com",
)
URL = "https://www.smarwatt.com/facturas?id=7"


class FewIds(LinkIds):
    """Ids that every request has the same of: the first is taken by whoever comes first."""

    def __call__(self, source: str, event_id: str, attempt: int) -> str:
        return f"collision{attempt:03}"


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[HandlerWorld]:
    """Return empty stores."""
    made = HandlerWorld(tmp_path)
    yield made
    await made.analytics.close()


def context(
    world: HandlerWorld,
    event_id: str = "e-1",
    rules: LinkRules | None = RULES,
    later: timedelta = timedelta(0),
) -> Context:
    """Return what the handler may know of an event."""
    made = world.context(HANDLES.name, event_id=event_id, asked_at=ASKED_AT + later)
    return dataclasses.replace(made, links=rules)


def wanting(url: str = URL, **members: str) -> LinkRequested:
    """Return a request."""
    return LinkRequested.model_validate({"url": url, "user_id": "user-ana", **members})


def answer(result: Result) -> LinkCreated:
    """Return the reply's data."""
    (reply,) = result.replies
    assert reply.type is CREATED
    assert isinstance(reply.data, LinkCreated)
    return reply.data


async def test_a_request_becomes_a_link_and_the_reply_leads_to_it(world: HandlerWorld) -> None:
    """What is stored is the canonical form of the URL, its owner, and when it ends."""
    wanted = wanting(
        "HTTPS://www.smarwatt.com:443/año", purpose="help", expires_at="2026-12-24T10:00:00+01:00"
    )
    reply = answer(await world.commit(await handle(wanted, context(world))))
    assert reply.short_url == f"https://bot.smarwatt.com/api/v1/links/resolve/{reply.link_id}"
    assert reply.expires_at == "2026-12-24T09:00:00Z"
    document = await world.documents.get(link_key(reply.link_id))
    assert document is not None
    assert document.fields["url"] == "https://www.smarwatt.com/a%C3%B1o"
    assert (document.fields["user_id"], document.fields["purpose"]) == ("user-ana", "help")
    assert document.fields["created_at"] == ASKED_AT


async def test_a_link_lives_ninety_days_unless_told(world: HandlerWorld) -> None:
    """Counted from the question."""
    assert answer(await handle(wanting(), context(world))).expires_at == "2027-01-31T09:30:00Z"


async def test_the_same_request_again_has_the_same_link(world: HandlerWorld) -> None:
    """Even long after, when the inbox has forgotten it: the reply is what it was, and nothing is written."""
    first = answer(await world.commit(await handle(wanting(), context(world))))
    again = await handle(wanting(), context(world, later=timedelta(days=60)))
    assert (answer(again), again.writes) == (first, ())


async def test_another_request_for_the_same_url_has_another_link(world: HandlerWorld) -> None:
    """Ids say nothing about where links lead, and each can be disabled by itself."""
    links = {
        answer(await world.commit(await handle(wanting(), context(world, event_id)))).link_id
        for event_id in ("e-1", "e-2", "e-3")
    }
    assert len(links) == 3


async def test_an_id_that_another_request_has_is_not_taken_from_it(world: HandlerWorld) -> None:
    """Two at the same time want one id: who commits second is refused, tries again, and gets the next."""
    rules = dataclasses.replace(RULES, make_id=FewIds(bytes(32)))
    first, second = [await handle(wanting(), context(world, event_id, rules)) for event_id in ("e-1", "e-2")]
    await world.commit(first)
    with pytest.raises(PreconditionFailedError):
        await world.commit(second)
    second = await world.commit(await handle(wanting(f"{URL}7"), context(world, "e-2", rules)))
    assert [answer(each).link_id for each in (first, second)] == ["collision000", "collision001"]
    document = await world.documents.get(link_key("collision000"))
    assert document is not None
    assert (document.fields["event_id"], document.fields["url"]) == ("e-1", URL)
    again = await handle(wanting(f"{URL}7"), context(world, "e-2", rules))
    assert (answer(again).link_id, again.writes) == ("collision001", ())


@pytest.mark.parametrize(
    ("reason", "request_"),
    [
        pytest.param("unsafe-url", wanting("https://evil.com/canary"), id="another domain"),
        pytest.param("unsafe-url", wanting("javascript:canary"), id="another scheme"),
        pytest.param("unsafe-url", wanting("https://canary:canary@smarwatt.com/"), id="a password"),
        pytest.param("unusable-expiry", wanting(expires_at="2026-11-02T09:30:00Z"), id="over at once"),
        pytest.param("unusable-expiry", wanting(expires_at="2099-01-01T00:00:00Z"), id="for ever"),
        pytest.param("unusable-expiry", wanting(expires_at="2027-02-30T00:00:00Z"), id="no such day"),
    ],
)
async def test_what_cannot_become_a_link_dies_with_its_reason(
    reason: str, request_: LinkRequested, world: HandlerWorld
) -> None:
    """The failed reply says what is allowed, and repeats nothing of the URL."""
    with pytest.raises(PermanentError) as refused:
        await handle(request_, context(world))
    assert refused.value.reason == reason
    assert "canary" not in refused.value.detail
    assert await world.documents.find("links", [], limit=1) == []


async def test_without_a_public_url_no_link_is_made(world: HandlerWorld) -> None:
    """The reason names the setting."""
    with pytest.raises(PermanentError, match="EXPERT_BOT_PUBLIC_URL") as refused:
        await handle(wanting(), context(world, rules=None))
    assert refused.value.reason == "links-off"


@pytest.mark.parametrize("years", [-27, 75], ids=["before 2000", "after 2100"])
async def test_a_question_of_no_usable_time_is_refused(years: int, world: HandlerWorld) -> None:
    """An expiry could not be computed, or not be stored."""
    with pytest.raises(PermanentError) as refused:
        await handle(wanting(), context(world, later=timedelta(days=366 * years)))
    assert refused.value.reason == "unusable-time"


async def test_a_damaged_link_is_not_answered_with_an_invented_end(world: HandlerWorld) -> None:
    """Whoever asked learns that something is wrong."""
    reply = answer(await world.commit(await handle(wanting(), context(world))))
    await world.documents.commit([Update(link_key(reply.link_id), {"expires_at": "soon"})])
    with pytest.raises(PermanentError) as refused:
        await handle(wanting(), context(world))
    assert refused.value.reason == "link-unreadable"
