"""Contracts and bills for tests, short to write; and an oracle that computes them in another way."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any

from expert_bot.energy import rules
from expert_bot.energy.bill.bill import Bill, compute_bill
from expert_bot.energy.bill.contract import (
    BilledConsumption,
    BillPeriod,
    BonoCategory,
    BonoSocial,
    Contract,
    EnergyPrice,
    ExtraLine,
    FixedTariff,
    Household,
    PvpcTariff,
    SurplusTerms,
    Tariff,
)
from expert_bot.energy.calendar import TariffZone
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod

RULES = rules.load()


def by_period(p1: object, p2: object, p3: object) -> dict[Period, Decimal]:
    """Return a number for each energy period."""
    return dict(zip(Period, (Decimal(str(each)) for each in (p1, p2, p3)), strict=True))


def by_power(p1: object, p2: object) -> dict[PowerPeriod, Decimal]:
    """Return a number for each power period."""
    return dict(zip(PowerPeriod, (Decimal(str(each)) for each in (p1, p2)), strict=True))


def fixed(energy: EnergyPrice | str = "0.1", p1: str = "0.1", p2: str = "0.02") -> FixedTariff:
    """Return a tariff with agreed prices."""
    return FixedTariff(
        power_eur_per_kw_day=by_power(p1, p2), energy=Decimal(energy) if isinstance(energy, str) else energy
    )


def pvpc(p1: object = "0.2", p2: object = "0.15", p3: object = "0.1") -> PvpcTariff:
    """Return the regulated tariff with mean prices."""
    return PvpcTariff(mean_prices=by_period(p1, p2, p3))


@dataclass(frozen=True, kw_only=True)
class Case:
    """A bill to compute; June 2026 with both ends billed, 250 kWh and 4.6 kW, unless a test says otherwise."""

    tariff: Tariff = field(default_factory=pvpc)
    zone: TariffZone = TariffZone.PENINSULA
    power_kw: tuple[str, str] = ("4.6", "4.6")
    kwh: tuple[object, object, object] = (60, 70, 120)
    surplus_kwh: str = "0"
    surplus: SurplusTerms | None = None
    bono: tuple[str, str] | None = None
    discounts: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    start: date = date(2026, 6, 1)
    end: date = date(2026, 6, 30)
    days: int | None = None
    due: date | None = None
    is_home: bool = True
    days_in_year: int | None = None

    def but(self, **changes: Any) -> Case:  # as dataclasses.replace
        """Return the same with changes."""
        return replace(self, **changes)

    @property
    def period(self) -> BillPeriod:
        """The billing period."""
        days = (self.end - self.start).days + 1 if self.days is None else self.days
        return BillPeriod(
            start=self.start, end=self.end, days=days, due=self.due, days_in_year=self.days_in_year
        )

    @property
    def contract(self) -> Contract:
        """The contract."""
        return Contract(
            zone=self.zone,
            power_kw=by_power(*self.power_kw),
            tariff=self.tariff,
            discounts=tuple(ExtraLine(label="descuento", eur=Decimal(each)) for each in self.discounts),
            bono_social=BonoSocial(category=BonoCategory(self.bono[0]), household=Household(self.bono[1]))
            if self.bono
            else None,
            surplus=self.surplus,
            is_home=self.is_home,
        )

    @property
    def consumption(self) -> BilledConsumption:
        """The billed energy."""
        return BilledConsumption(energy_kwh=by_period(*self.kwh), surplus_kwh=Decimal(self.surplus_kwh))

    def bill(self, **arguments: Any) -> Bill:  # as compute_bill takes them
        """Compute it."""
        services = tuple(ExtraLine(label="servicio", eur=Decimal(each)) for each in self.services)
        return compute_bill(
            self.contract, self.period, self.consumption, rules=RULES, services=services, **arguments
        )


def amounts(bill: Bill) -> dict[str, str]:
    """Return the lines of a bill as text by id."""
    return {line.id: f"{line.eur:f}" for line in bill.lines}


class Oracle:
    """Bills by another road: the regulated files day by day, fractions, whole cents. Peninsula, PVPC or fixed prices."""

    def __init__(self, regulated: Path) -> None:
        """Read the files that the package's tables were made from."""
        self.tolls = _read(regulated / "tolls_charges_2_0td.json")["rows"]
        self.taxes = _read(regulated / "taxes_bono_meter.json")

    def bill(self, case: Case) -> dict[str, int]:
        """Return the lines in whole cents by id, and the total."""
        days = list(self._days(case))
        power = case.power_kw
        lines = {f"power_p{n}": self._power(case, days, n, Fraction(power[n - 1])) for n in (1, 2)}
        energy = self._energy(case)
        lines.update(energy)
        for number, discount in enumerate(case.discounts, start=1):
            lines[f"discount_{number}"] = cents(Fraction(discount))
        lines["bono_financing"] = self._by_price(days, lambda day: Fraction(str(self._financing(day))))
        if case.bono is not None:
            lines["bono_discount"] = self._bono(case, days, lines, sum(energy.values()))
        base = sum(lines.values())
        tax_day = case.due or days[-1]
        kwh = sum(Fraction(str(each)) for each in case.kwh)
        rate = self._iee(tax_day)
        lines["electricity_tax"] = max(cents(Fraction(base) * rate / 100 / 100), cents(kwh / 1000))
        lines["meter_rental"] = self._by_price(days, lambda _: Fraction("9.72"))
        for number, service in enumerate(case.services, start=1):
            lines[f"service_{number}"] = cents(Fraction(service))
        lines["vat"] = cents(Fraction(sum(lines.values())) * self._vat(case, tax_day) / 100 / 100)
        lines["total"] = sum(lines.values())
        return lines

    def _days(self, case: Case) -> Iterator[date]:
        for back in reversed(range(case.period.days)):
            yield case.end - timedelta(days=back)

    def _power(self, case: Case, days: Sequence[date], number: int, kw: Fraction) -> int:
        if isinstance(case.tariff, FixedTariff):
            price = Fraction(case.tariff.power_eur_per_kw_day[PowerPeriod(f"P{number}")])
            return cents(sum((kw * price for _ in days), Fraction(0)))
        margin = Fraction("3.113") if number == 1 else Fraction(0)
        return self._by_price(
            days, lambda day: kw * (Fraction(str(self._toll(day)["total_power"][f"P{number}"])) + margin)
        )

    def _energy(self, case: Case) -> dict[str, int]:
        kwh = [Fraction(str(each)) for each in case.kwh]
        if isinstance(case.tariff, PvpcTariff):
            means = case.tariff.mean_prices or {}
            return {
                "energy": cents(sum((kwh[n] * Fraction(means[p]) for n, p in enumerate(Period)), Fraction(0)))
            }
        price = case.tariff.energy
        if isinstance(price, Mapping):
            return {f"energy_p{n + 1}": cents(kwh[n] * Fraction(price[p])) for n, p in enumerate(Period)}
        assert isinstance(price, Decimal)
        return {"energy": cents(sum(kwh) * Fraction(price))}

    def _by_price(self, days: Sequence[date], yearly: Any) -> int:  # a function of a day
        """Add up a yearly price day by day; each price that stays the same is a printed line."""
        runs: list[tuple[Fraction, Fraction]] = []
        for day in days:
            daily = yearly(day) / (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days
            if runs and runs[-1][0] == daily:
                runs[-1] = (daily, runs[-1][1] + daily)
            else:
                runs.append((daily, daily))
        return sum(cents(amount) for _, amount in runs)

    def _bono(self, case: Case, days: Sequence[date], lines: Mapping[str, int], energy: int) -> int:
        assert case.bono is not None
        category, household = case.bono
        yearly = self.taxes["bono_social_kwh_year_limit"][household]
        limit = sum(
            (Fraction(yearly) / (date(day.year + 1, 1, 1) - date(day.year, 1, 1)).days for day in days),
            Fraction(0),
        )
        kwh = sum(Fraction(str(each)) for each in case.kwh)
        share = min(Fraction(1), limit / kwh) if kwh else Fraction(1)
        fixed_part = lines["power_p1"] + lines["power_p2"] + lines["bono_financing"]
        percents = [Fraction(str(self._bono_row(day)[category])) for day in days]
        return -cents((fixed_part + energy * share) * sum(percents, Fraction(0)) / len(days) / 100 / 100)

    def _toll(self, day: date) -> Any:  # JSON
        return _on(self.tolls, day)

    def _iee(self, day: date) -> Fraction:
        return Fraction(str(_on(self.taxes["iee"]["rows"], day)["percent"]))

    def _vat(self, case: Case, day: date) -> Fraction:
        row = _on(self.taxes["vat_peninsula_baleares"]["rows"], day)
        power = max(Fraction(each) for each in case.power_kw)
        severe = case.bono is not None and case.bono[0] == "severe"
        if row["from"] == "2024-03-01":
            return Fraction(10) if severe else Fraction(21)
        inside = power < 10 if row["from"] == "2026-03-22" else power <= 10
        return Fraction(str(row["percent"])) if inside or severe else Fraction(21)

    def _financing(self, day: date) -> str:
        steps = [
            ("2026-06-26", "9.011295"),
            ("2026-01-01", "6.979247"),
            ("2025-01-01", "4.650987"),
            ("2024-01-01", "2.299047"),
            ("2022-08-01", "13.401931"),
            ("2022-03-31", "14.035934"),
        ]
        return next((value for first, value in steps if first <= day.isoformat()), "0")

    def _bono_row(self, day: date) -> Any:  # JSON
        rows = self.taxes["bono_social_discount_pct"]
        return [row for row in rows if row["from"] <= day.isoformat()][-1]


def cents(amount: Fraction) -> int:
    """Round EUR to whole cents, halves away from zero."""
    sign = -1 if amount < 0 else 1
    return sign * ((abs(amount) * 100 * 2 + 1) // 2).__int__() if amount else 0


def _on(rows: Sequence[Any], day: date) -> Any:  # JSON
    return next(row for row in rows if row["from"] <= day.isoformat() < row["until_exclusive"])


def _read(path: Path) -> Any:  # JSON
    return json.loads(path.read_text("utf-8"), parse_float=Decimal)
