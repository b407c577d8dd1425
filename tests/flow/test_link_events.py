"""Link events on the embedded adapters: one link however often it is asked for, and refusals that keep secrets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from expert_bot.adapters import Adapters, open_adapters
from expert_bot.app import link_rules, make_client
from expert_bot.config import Settings
from expert_bot.links.stored import LinkRules, WhyNot, link_key, resolve
from expert_bot.publishers import RequestClient
from expert_bot.publishers.requests import RequestFailedError
from expert_bot.schemas.envelope import CloudEvent
from expert_bot.schemas.events.link import LinkCreated, LinkRequested
from expert_bot.service import Worker

ASKED_AT = datetime(2026, 11, 2, 9, 30, tzinfo=UTC)
WANTED = LinkRequested(url="https://www.smarwatt.com/ayuda?token=canary", user_id="user-ana", purpose="help")


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A running worker, a client of it, and how it makes links."""

    adapters: Adapters
    client: RequestClient
    rules: LinkRules


@asynccontextmanager
async def serving(folder: Path, **changes: object) -> AsyncIterator[Service]:
    """Run a worker over a data folder."""
    settings = Settings(data_dir=folder, drain_s=5, public_url="https://bot.smarwatt.com").model_copy(
        update=changes
    )
    rules = link_rules(settings)
    assert rules is not None
    async with open_adapters(settings) as adapters, AsyncExitStack() as stack:
        worker = Worker(settings, adapters)
        worker.start()
        stack.push_async_callback(worker.drain)
        client = await stack.enter_async_context(make_client(adapters, "//energy-ia"))
        yield Service(adapters=adapters, client=client, rules=rules)


def asking(service: Service, request: LinkRequested = WANTED) -> CloudEvent:
    """Return the event of a request."""
    return service.client.make_request(request, asked_at=ASKED_AT)


async def ask(service: Service, request: LinkRequested | CloudEvent = WANTED) -> LinkCreated:
    """Ask for a link and return the reply."""
    event = request if isinstance(request, CloudEvent) else asking(service, request)
    answer = await service.client.ask(event, timeout_s=20)
    assert isinstance(answer.data, LinkCreated)
    return answer.data


async def test_a_request_becomes_a_link_that_leads_on_until_it_expires(tmp_path: Path) -> None:
    """From the event to the document that the redirect reads."""
    async with serving(tmp_path) as service:
        reply = await ask(service)
        document = await service.adapters.documents.get(link_key(reply.link_id))
    domains = service.rules.domains
    assert reply.short_url == f"https://bot.smarwatt.com/api/v1/links/resolve/{reply.link_id}"
    assert resolve(document, ASKED_AT, domains) == WANTED.url
    assert resolve(document, ASKED_AT + timedelta(days=90), domains) is WhyNot.EXPIRED


async def test_the_same_event_makes_one_link_in_every_process(tmp_path: Path) -> None:
    """Copies at the same time, and one that comes after a restart."""
    async with serving(tmp_path) as before:
        event = asking(before)
        for _ in range(3):
            await before.client.publish(event)
        link = await ask(before, event)
    async with serving(tmp_path) as after:
        await after.client.publish(event)
        other = await ask(after)  # of the same user: it comes after the copies
        links = await after.adapters.documents.find("links", [], limit=10)
    assert sorted(document.key.id for document in links) == sorted([link.link_id, other.link_id])
    assert link.link_id == after.rules.make_id("//energy-ia", event.id, 0)


async def test_a_refused_url_stays_out_of_the_reply(tmp_path: Path) -> None:
    """The failed event says what is allowed; the URL and the secrets in it are in no word of it."""
    async with serving(tmp_path) as service:
        hostile = WANTED.model_copy(update={"url": "https://canary:canary@evil.com/"})
        with pytest.raises(RequestFailedError) as refused:
            await ask(service, hostile)
        links = await service.adapters.documents.find("links", [], limit=1)
    problem = refused.value.problem
    assert (problem.reason, problem.status, problem.retriable) == ("unsafe-url", 422, False)
    assert "canary" not in problem.model_dump_json()
    assert links == []


async def test_the_domains_are_a_setting(tmp_path: Path) -> None:
    """What is not on the list is refused, whatever is allowed by default."""
    elsewhere = LinkRequested(url="https://ayuda.example.org/", user_id="user-ana")
    async with serving(tmp_path, link_domains=("example.org",)) as service:
        reply = await ask(service, elsewhere)
        with pytest.raises(RequestFailedError, match="unsafe-url"):
            await ask(service)
    assert reply.expires_at == "2027-01-31T09:30:00Z"
