"""A running service: start order, the relay, SIGTERM, drain."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import structlog
from aiohttp import web

from expert_bot import __version__
from expert_bot.adapters import Adapters, open_adapters
from expert_bot.app import build_dispatcher, confirmed_months, families_of, link_rules
from expert_bot.config import Mode, Settings
from expert_bot.deadletters.archiver import Archiver
from expert_bot.direct import DirectRequests
from expert_bot.errors import BusUnavailableError, SettingError, TransientError
from expert_bot.http.callers import Callers
from expert_bot.http.cross_service import cross_service_routes
from expert_bot.http.energy_routes import energy_routes
from expert_bot.http.firebase_tokens import TokenReader
from expert_bot.http.health import Check, Readiness, health_routes
from expert_bot.http.identity import make_revocations, make_token_reader
from expert_bot.http.link_clicks import LinkClicks
from expert_bot.http.links_routes import links_routes
from expert_bot.http.push import push_routes
from expert_bot.http.push_auth import Authenticate
from expert_bot.http.push_limits import PushLimits
from expert_bot.http.push_settings import make_authenticator
from expert_bot.http.server import make_app
from expert_bot.http.tasks_routes import tasks_routes
from expert_bot.inbox.work import Failpoints
from expert_bot.metrics import WorkerMetrics
from expert_bot.publishers import RequestClient
from expert_bot.schemas.families import families_by_subscription
from expert_bot.schemas.topology import ARCHIVE_SUBSCRIPTION, NEEDED_DEDUP_DAYS, PUSH_ACK_DEADLINE_S
from expert_bot.storage.row_batches import RowBatches

STALLED_AFTER_S: Final = 60.0
STOP_WITHIN_S: Final = 8.5
PUBLISH_WITHIN_S: Final = 5.0
"""How long a request over HTTP sits out an outage of the bus."""
FIGURES_WITHIN_S: Final = 1.0
"""How long the last minute's figures may take at the end; they are not worth more of it."""

_PUSH_MARGIN_S: Final = 30.0
_BESIDES_HANDLER_S: Final = 120.0  # waiting for another owner, and publishing

_log = structlog.get_logger(__name__)


class Worker:
    """Consumers of every family's requests and of the dead letters, and the relay that completes what dead workers left.

    `pull`: whether requests are pulled. Dead letters always are: nobody pushes them.
    """

    def __init__(
        self,
        settings: Settings,
        adapters: Adapters,
        *,
        pull: bool = True,
        failpoints: Failpoints | None = None,
    ) -> None:
        self._batches = RowBatches(adapters.analytics)
        self._metrics = WorkerMetrics(adapters.clock, self._batches.put)
        self.dispatcher, self._inbox = build_dispatcher(
            settings, adapters, failpoints=failpoints, observe=self._metrics.observe
        )
        self.direct = DirectRequests(self.dispatcher, self._inbox, families_of(settings).values())
        self._settings = settings
        self._consumers = [
            adapters.make_consumer(
                subscription,
                self.dispatcher.process,
                ordered=True,
                max_work_s=family.handler_timeout_s + _BESIDES_HANDLER_S,
            )
            for subscription, family in (families_of(settings).items() if pull else ())
        ]
        archiver = Archiver(adapters.documents, adapters.clock)
        self._consumers.append(adapters.make_consumer(ARCHIVE_SUBSCRIPTION, archiver.process, ordered=False))
        self._tasks: list[asyncio.Task[None]] = []
        self._measuring: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start consuming and relaying."""
        self._tasks = [asyncio.create_task(consumer.run()) for consumer in self._consumers]
        self._tasks.append(asyncio.create_task(self._relay()))
        self._measuring = asyncio.create_task(self._metrics.run())

    async def until_broken(self) -> None:
        """Return only by raising what broke a consumer or the relay: a mistake of ours, since they survive outages."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def drain(self) -> None:
        """Stop taking work, let running handlers finish for `drain_s`, hand the rest back."""
        if self._tasks:
            self._tasks[-1].cancel()
        await asyncio.gather(*(consumer.drain(self._settings.drain_s) for consumer in self._consumers))
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._measuring is not None:
            self._measuring.cancel()
            await asyncio.wait((self._measuring,), timeout=FIGURES_WITHIN_S)
        await self._batches.close(within_s=FIGURES_WITHIN_S)

    async def check_stall(self) -> None:
        """Raise BusUnavailableError if a consumer has not heard from the bus for a minute."""
        stalled_s = max((consumer.stalled_for_s() for consumer in self._consumers), default=0.0)
        if stalled_s > STALLED_AFTER_S:
            raise BusUnavailableError(f"no answer from the bus for {stalled_s:.0f} s")

    async def _relay(self) -> None:
        while True:
            await asyncio.sleep(self._settings.relay_every_s)
            try:
                completed = await self._inbox.sweep()
            except TransientError as error:
                _log.warning("relay_failed", error=type(error).__name__)
            except Exception:  # noqa: BLE001  # a broken relay must not stop the consumers; logged with its traceback
                _log.exception("relay_broken", hint="replies of dead workers wait for their redelivery")
            else:
                if completed:
                    _log.info("relay_completed", events=completed)


async def run_service(settings: Settings, *, with_http: bool, failpoints: Failpoints | None = None) -> None:
    """Run until SIGTERM or SIGINT, then drain and return within 9 s.

    A signal during start stops the start; a second signal changes nothing, not even after the return. Raises
    SettingError if the port is not free or, before anything is opened, if the settings do not say who checks pushes and
    callers.
    """
    with _stop_signals() as stop, calm_garbage_collector():
        authenticate = make_authenticator(settings, families_by_subscription()) if with_http else None
        reader = make_token_reader(settings) if with_http else None
        async with open_adapters(settings) as adapters:
            worker = Worker(settings, adapters, pull=settings.pull or not with_http, failpoints=failpoints)
            readiness = Readiness(_checks(adapters, worker))
            server = None
            if authenticate is not None and reader is not None:
                clicks = LinkClicks(adapters.analytics, adapters.clock)
                api = api_routes(settings, adapters, reader, worker, clicks)
                server = await _start_http(settings, worker, readiness, authenticate, api, clicks)
            _warn(settings)
            worker.start()
            _log.info("service_started", mode=settings.mode.value, version=__version__, http=_address(server))
            broken = asyncio.create_task(worker.until_broken())
            stopping = asyncio.create_task(stop.wait())
            await asyncio.wait((broken, stopping), return_when=asyncio.FIRST_COMPLETED)
            stopping.cancel()
            broken.cancel()  # draining ends the worker's tasks: no longer a sign that something broke
            _log.info("service_stopping")
            readiness.stop()
            with suppress(TimeoutError):
                async with asyncio.timeout(STOP_WITHIN_S):
                    await asyncio.gather(worker.drain(), server.cleanup() if server else asyncio.sleep(0))
            if broken.done() and not broken.cancelled():
                broken.result()
    _log.info("service_stopped")


@contextmanager
def calm_garbage_collector() -> Iterator[None]:
    """Make the cyclic collector look less often, and not at what was there before: a worker's objects die by themselves.

    With hundreds of events in flight it took a fifth of all time.
    """
    thresholds = gc.get_threshold()
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)
        gc.unfreeze()


@contextmanager
def _stop_signals() -> Iterator[asyncio.Event]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGTERM, signal.SIGINT)
    for number in signals:
        loop.add_signal_handler(number, stop.set)
    try:
        yield stop
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
            if stop.is_set():  # the process is leaving: another signal would kill it on the way
                signal.signal(number, signal.SIG_IGN)


def _checks(adapters: Adapters, worker: Worker) -> dict[str, Check]:
    return {
        "documents": adapters.documents.ping,
        "bus": adapters.publisher.ping,
        "consumers": worker.check_stall,
        "analytics": adapters.analytics.ping,
    }


def api_routes(
    settings: Settings, adapters: Adapters, reader: TokenReader, worker: Worker, clicks: LinkClicks
) -> list[web.RouteDef]:
    """Return the routes that signed-in users call, and the one that follows a link. `clicks`: see `links_routes`."""
    callers = Callers(reader, make_revocations(settings, adapters.documents))
    requests = RequestClient(
        publisher=adapters.publisher,
        admin=None,
        make_consumer=adapters.make_consumer,
        clock=adapters.clock,
        source=settings.source,
        publish_timeout_s=PUBLISH_WITHIN_S,
    )
    documents, clock = adapters.documents, adapters.clock
    return [
        *tasks_routes(callers, documents=documents, requests=requests, clock=clock),
        *energy_routes(
            callers,
            documents=documents,
            analytics=adapters.analytics,
            clock=clock,
            confirmed=confirmed_months(settings),
        ),
        *links_routes(
            callers,
            documents=documents,
            requests=requests,
            make_context=worker.dispatcher.make_context,
            rules=link_rules(settings),
            clock=clock,
            clicks=clicks,
        ),
        *cross_service_routes(
            callers,
            answer=worker.direct.answer,
            identity=adapters.identity,
            clock=clock,
            source=settings.source,
        ),
    ]


async def _start_http(
    settings: Settings,
    worker: Worker,
    readiness: Readiness,
    authenticate: Authenticate,
    api: Iterable[web.RouteDef],
    clicks: LinkClicks,
) -> web.AppRunner:
    version = {"version": __version__, "commit": settings.commit, "mode": settings.mode.value}
    push = push_routes(
        worker.dispatcher.process,
        families_by_subscription(),
        PUSH_ACK_DEADLINE_S - _PUSH_MARGIN_S,
        authenticate=authenticate,
        limits=PushLimits(total=settings.max_in_flight, per_tenant=settings.push_tenant_limit),
    )
    app = make_app(health_routes(readiness, version), push, api)
    app.cleanup_ctx.append(clicks.running)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=settings.drain_s, auto_decompress=False)
    await runner.setup()
    try:
        await web.TCPSite(runner, settings.listen_host, settings.port).start()
    except OSError as error:
        await runner.cleanup()
        raise SettingError(
            f"PORT='{settings.port}': cannot listen on {settings.listen_host}: {error.strerror}; 0 picks a free port"
        ) from error
    return runner


def _address(server: web.AppRunner | None) -> str | None:
    return f"http://{server.addresses[0][0]}:{server.addresses[0][1]}" if server else None


def _warn(settings: Settings) -> None:
    """Warn about settings that are allowed, but do not keep every promise."""
    if settings.dedup_retention_days < NEEDED_DEDUP_DAYS:
        _log.warning(
            "dedup_retention_too_short",
            setting="EXPERT_BOT_DEDUP_RETENTION_DAYS",
            days=settings.dedup_retention_days,
            needed_days=NEEDED_DEDUP_DAYS,
            hint="a copy that arrives later than this would be done again",
        )
    if settings.mode is Mode.EMBEDDED:
        _log.warning("embedded_mode", hint="one machine only: use EXPERT_BOT_MODE=cloud in production")
