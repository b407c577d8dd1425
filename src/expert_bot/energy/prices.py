"""Hourly PVPC prices as columns, and what a curve costs at them."""

from __future__ import annotations

from dataclasses import dataclass

from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.curve import Ints


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HourlyPrices:
    """Prices of the PVPC's energy term in `zone`, tolls and charges inside, without taxes.

    `start_hours`: hours since 1970-01-01T00Z, rising, each once. `price_neur`: EUR/kWh in whole billionths (1e-9).
    """

    zone: TariffZone
    start_hours: Ints
    price_neur: Ints
