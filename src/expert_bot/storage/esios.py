"""PVPC prices from the public API of the system operator (ESIOS, Red Eléctrica).

With a token the indicator 1001 is asked, a month at a time; without one the public archive PVPC_CURV_DD, day by day.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, timedelta
from types import TracebackType
from typing import Final, Self

import stamina
from aiohttp import ClientError, ClientSession, ClientTimeout

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.price_files import GEOS, INDICATOR
from expert_bot.energy.prices import HourlyPrices, read_prices
from expert_bot.errors import TransientError, UsageError

FIRST_DAY: Final = date(2021, 6, 1)
"""First day of the 2.0TD; prices before it are of other tariffs."""
MAX_RESPONSE_BYTES: Final = 8 * 1024 * 1024

_ARCHIVE: Final = 70
_DAYS_A_REQUEST: Final = 31
_OK: Final = 200
_NOT_FOUND: Final = 404
_DENIED: Final = frozenset({401, 403})
_BUSY: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
_LONGEST_PAUSE_S: Final = 30.0


class _BusyError(Exception):
    """The API cannot answer right now; it may say when it can."""

    def __init__(self, status: int, retry_after_s: float | None) -> None:
        super().__init__(f"status {status}")
        self.retry_after_s = retry_after_s


class EsiosClient:
    """Asks one API; use as an async context manager.

    `timeout_s`: for one answer. `attempts`: for one question, with growing pauses from `first_pause_s`.
    """

    def __init__(
        self,
        *,
        base_url: str,
        token: str | None = None,
        timeout_s: float = 10.0,
        attempts: int = 4,
        first_pause_s: float = 0.5,
    ) -> None:
        self._base_url = base_url.rstrip("/")
        self._headers = {"Accept": "application/json; application/vnd.esios-api-v1+json"}
        if token:
            self._headers["x-api-key"] = token
        self._has_token = bool(token)
        self._timeout = ClientTimeout(total=timeout_s)
        self._attempts = attempts
        self._first_pause_s = first_pause_s
        self._session: ClientSession | None = None

    async def __aenter__(self) -> Self:
        self._session = ClientSession(timeout=self._timeout, headers=self._headers)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def prices(self, first: date, until: date, zone: TariffZone) -> AsyncIterator[HourlyPrices]:
        """Yield the prices of the local days from `first` to `until` (exclusive), in parts of a day or a month.

        Raises UsageError (a day before 2021-06-01, or one that is not published yet; token refused) or TransientError
        (no answer after all attempts). What was yielded before stays good.
        """
        if first < FIRST_DAY:
            raise UsageError(f"--from {first}: there is no PVPC of the 2.0TD before {FIRST_DAY}")
        if until <= first:
            raise UsageError(
                f"--to {until} must be later than --from {first}: it is the first day not wanted"
            )
        step = timedelta(days=_DAYS_A_REQUEST if self._has_token else 1)
        begin = first
        while begin < until:
            end = min(begin + step, until)
            yield await self._part(begin, end, zone)
            begin = end

    async def _part(self, first: date, until: date, zone: TariffZone) -> HourlyPrices:
        last = until - timedelta(days=1)
        if self._has_token:
            path = f"/indicators/{INDICATOR}"
            query = {
                "start_date": f"{first}T00:00",
                "end_date": f"{last}T23:59",
                "time_trunc": "hour",
                "geo_ids[]": str(GEOS[zone]),
            }
        else:
            path, query = f"/archives/{_ARCHIVE}/download_json", {"locale": "es", "date": first.isoformat()}
        asked = f"{first}" if first == last else f"{first}..{last}"
        body = await self._get(path, query, asked=asked)
        try:
            prices = read_prices([body], zone=zone).prices.between(first, until)
        except UsageError as error:
            raise UsageError(f"the price API's answer for {asked} cannot be used: {error}") from error
        if not len(prices):
            raise UsageError(f"the price API has no prices of {zone} for {asked} (yet)")
        return prices

    async def _get(self, path: str, query: dict[str, str], *, asked: str) -> bytes:
        try:
            async for attempt in stamina.retry_context(
                on=self._pause,
                attempts=self._attempts,
                timeout=None,
                wait_initial=self._first_pause_s,
                wait_max=_LONGEST_PAUSE_S,
                wait_jitter=self._first_pause_s,
            ):
                with attempt:
                    return await self._get_once(path, query, asked)
        except (_BusyError, ClientError, TimeoutError) as error:
            reason = str(error) or type(error).__name__
            raise TransientError(f"the price API {self._base_url} did not answer: {reason}") from error
        raise AssertionError("unreachable: the last attempt returns or raises")  # pragma: no cover

    async def _get_once(self, path: str, query: dict[str, str], asked: str) -> bytes:
        if self._session is None:
            raise RuntimeError("the client is used as an async context manager")
        url = self._base_url + path
        async with self._session.get(url, params=query, allow_redirects=False) as response:
            if response.status in _BUSY:
                raise _BusyError(response.status, _seconds(response.headers.get("Retry-After")))
            if response.status in _DENIED:
                raise UsageError(
                    f"the price API refused the request (status {response.status}): check the token"
                )
            if response.status == _NOT_FOUND:
                raise UsageError(f"the price API has no prices for {asked} (yet)")
            if response.status != _OK:
                raise UsageError(f"the price API answered status {response.status} for {asked}")
            body = bytearray()
            async for chunk in response.content.iter_any():
                body += chunk
                if len(body) > MAX_RESPONSE_BYTES:
                    raise UsageError(
                        f"the price API answered more than {MAX_RESPONSE_BYTES} bytes for {asked}"
                    )
            return bytes(body)

    @staticmethod
    def _pause(error: Exception) -> bool | float:
        """Tell whether to try again, and after how long if the API said so."""
        if isinstance(error, _BusyError) and error.retry_after_s is not None:
            return min(error.retry_after_s, _LONGEST_PAUSE_S)
        return isinstance(error, (_BusyError, ClientError, TimeoutError))


def _seconds(header: str | None) -> float | None:
    return float(header) if header is not None and header.isascii() and header.isdigit() else None
