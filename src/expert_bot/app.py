"""The composition root: the core, wired over the adapters that `adapters/` has picked."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from expert_bot.adapters import Adapters
from expert_bot.config import Mode, Settings
from expert_bot.delivery import Delivery, Outcome
from expert_bot.dispatch import ANY_SOURCE, Dispatcher, Observe
from expert_bot.energy.calendar import Month
from expert_bot.errors import SettingError
from expert_bot.handlers import all_handlers
from expert_bot.inbox.protocol import Inbox
from expert_bot.inbox.work import Failpoints, InboxSettings
from expert_bot.links.hosts import AllowedDomains
from expert_bot.links.ids import LinkIds
from expert_bot.links.stored import LinkRules
from expert_bot.publishers import RequestClient
from expert_bot.schemas.families import EventFamily, families_by_subscription

Process = Callable[[Delivery], Awaitable[Outcome]]


def confirmed_months(settings: Settings) -> dict[Month, bool]:
    """Return the months of conditional tax law that are settled, and whether the condition was met."""
    return {Month.parse(month): outcome == "met" for month, outcome in settings.tax_conditions.items()}


def link_rules(settings: Settings) -> LinkRules | None:
    """Return how short links are made; None in cloud mode without a public URL: there are none then.

    Raises SettingError for a domain that no link may lead to, UsageError if the data folder's key cannot be used.
    """
    from expert_bot.adapters.local import service_secret  # noqa: PLC0415  # brings an engine that commands do without

    here = None if settings.mode is Mode.CLOUD else f"http://127.0.0.1:{settings.port}"
    public_url = settings.public_url or here
    if public_url is None:
        return None
    try:
        domains = AllowedDomains.parse(settings.link_domains)
    except ValueError as error:
        raise SettingError(f"EXPERT_BOT_LINK_DOMAINS: {error}") from error
    return LinkRules(domains=domains, make_id=LinkIds(service_secret(settings)), public_url=public_url)


def allowed_sources(settings: Settings) -> tuple[str, ...]:
    """Return the sources whose requests are accepted: those that are set, all if none is; always this service's own."""
    return (*settings.allowed_sources, settings.source) if settings.allowed_sources else (ANY_SOURCE,)


def make_client(adapters: Adapters, source: str) -> RequestClient:
    """Return a client whose requests come from `source`. Raises UsageError where it cannot make its subscriptions."""
    return RequestClient(
        publisher=adapters.publisher,
        admin=adapters.require_admin(),
        make_consumer=adapters.make_consumer,
        clock=adapters.clock,
        source=source,
    )


def build_dispatcher(
    settings: Settings,
    adapters: Adapters,
    *,
    failpoints: Failpoints | None = None,
    observe: Observe | None = None,
) -> tuple[Dispatcher, Inbox]:
    """Wire the core: every event family and handler that exists, over the given adapters; `observe`: see Dispatcher."""
    inbox = Inbox(
        documents=adapters.documents,
        publisher=adapters.publisher,
        clock=adapters.clock,
        settings=InboxSettings(
            lease_s=settings.lease_s,
            retention=timedelta(days=settings.dedup_retention_days),
            max_attempts=settings.max_attempts,
        ),
        failpoints=failpoints,
    )
    dispatcher = Dispatcher(
        inbox=inbox,
        publisher=adapters.publisher,
        documents=adapters.documents,
        identity=adapters.identity,
        analytics=adapters.analytics,
        files=adapters.files,
        clock=adapters.clock,
        families=families_of(settings),
        handlers=all_handlers(),
        source=settings.source,
        allowed_sources=allowed_sources(settings),
        confirmed=confirmed_months(settings),
        links=link_rules(settings),
        observe=observe,
    )
    return dispatcher, inbox


def families_of(settings: Settings) -> dict[str, EventFamily]:
    """Return the event families by subscription, with the handler timeouts that the settings give them.

    Raises SettingError for a timeout of a family that does not exist.
    """
    families = families_by_subscription()
    known = sorted(family.name for family in families.values())
    for name in settings.handler_timeouts_s:
        if name not in known:
            raise SettingError(
                f"EXPERT_BOT_HANDLER_TIMEOUTS_S: {name!r} is no event family; known: {', '.join(known)}"
            )
    return {
        subscription: replace(
            family, handler_timeout_s=settings.handler_timeouts_s.get(family.name, family.handler_timeout_s)
        )
        for subscription, family in families.items()
    }
