"""PVPC prices by the hour: reading them from files, and what a curve costs at them."""

from __future__ import annotations

from expert_bot.energy.hourly_prices import EnergyCost, HourlyPrices, energy_cost
from expert_bot.energy.price_files import ParsedPrices, parse_prices, read_prices

__all__ = ["EnergyCost", "HourlyPrices", "ParsedPrices", "energy_cost", "parse_prices", "read_prices"]
