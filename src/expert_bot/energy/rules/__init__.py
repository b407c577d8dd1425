"""Regulated values as dated tables: each with its norm, its validity and its status."""

from __future__ import annotations

from expert_bot.energy.rules.errors import RuleNotLoaded
from expert_bot.energy.rules.rows import PowerPeriod, Status
from expert_bot.energy.rules.tables import Rules, Table, load

__all__ = ["PowerPeriod", "RuleNotLoaded", "Rules", "Status", "Table", "load"]
