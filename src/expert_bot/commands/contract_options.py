"""Options that say what a home pays: contracted power, tariff, hourly prices, the day whose rules hold."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import Field, TypeAdapter, ValidationError

from expert_bot.commands.bill import read_json, read_prices
from expert_bot.commands.common import settled_law
from expert_bot.commands.compare import read_power
from expert_bot.commands.day_option import parse_day
from expert_bot.commands.price_option import parse_price
from expert_bot.energy import rules
from expert_bot.energy.analyses.advice.home_study import Home
from expert_bot.energy.analyses.marginal import Terms, terms_of
from expert_bot.energy.bill.bill_input import FixedInput, PvpcInput
from expert_bot.energy.bill.contract import Contract, FixedTariff, PvpcTariff, Tariff
from expert_bot.energy.bill.fields import describe
from expert_bot.energy.bill.regulated import pvpc_eur_per_kw_year
from expert_bot.energy.bill.request import energy_price
from expert_bot.energy.calendar import TariffZone, madrid
from expert_bot.energy.curve import Curve
from expert_bot.energy.formats import Maximum, ParsedCurve
from expert_bot.energy.readings import Period
from expert_bot.energy.rules import PowerPeriod
from expert_bot.errors import UsageError

Power = Annotated[
    str,
    typer.Option(
        "--power", metavar="KW,KW", help="Contracted power in P1 and P2, such as 4.6,4.6; one for both."
    ),
]
TariffFile = Annotated[
    Path | None,
    typer.Option(
        "--tariff", metavar="FILE.json", help="The tariff, as `contract.tariff` of the input of `bill`."
    ),
]
EnergyPrice = Annotated[
    str | None,
    typer.Option(
        "--price",
        metavar="EUR[,EUR,EUR]",
        help="EUR/kWh before taxes, tolls inside: one price, or P1,P2,P3; power at the regulated price.",
    ),
]
PricesFile = Annotated[
    Path | None,
    typer.Option("--prices", metavar="FILE", help="Hourly PVPC prices, for a home that has the PVPC."),
]
RulesDay = Annotated[
    str | None,
    typer.Option(
        "--on", metavar="DATE", help="Day whose taxes and regulated prices hold; today unless given."
    ),
]

_DAYS: Final = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractOptions:
    """The options as typed."""

    power: str
    zone: TariffZone
    tariff: Path | None = None
    price: str | None = None
    prices: Path | None = None
    on: str | None = None

    @property
    def day(self) -> date:
        """The day whose rules hold. Raises UsageError."""
        return parse_day("--on", self.on) or datetime.now(UTC).astimezone(madrid()).date()

    def contract(self) -> Contract:
        """Return the contract they describe; without a tariff or price, the PVPC. Raises UsageError."""
        return Contract(zone=self.zone, power_kw=read_power(self.power), tariff=self._tariff())

    def home(self, parsed: ParsedCurve, *, maxima: Sequence[Maximum] = ()) -> Home:
        """Return the home with this contract and a file's readings; its own maxima if no others are given."""
        return Home(
            curve=Curve.from_readings(parsed.readings, zone=self.zone),
            contract=self.contract(),
            on=self.day,
            maxima=maxima or parsed.maxima,
            confirmed=settled_law(),
        )

    def terms(self, curve: Curve) -> Terms:
        """Return its terms on that day. Raises UsageError, RuleNotLoaded."""
        return terms_of(
            self.contract(), on=self.day, rules=rules.load(), curve=curve, confirmed=settled_law()
        )

    def refuse_prices_beside(self, *others: str) -> None:
        """Raise UsageError if more than one option says what a kWh costs, these `others` included."""
        options = {"--tariff": self.tariff, "--price": self.price, "--prices": self.prices}
        given = [*(name for name, value in options.items() if value is not None), *others]
        if len(given) > 1:
            raise UsageError(f"{' and '.join(given)} exclude each other: each says what a kWh costs")

    def _tariff(self) -> Tariff:
        self.refuse_prices_beside()
        if self.tariff is not None:
            return read_tariff(self.tariff, self.zone)
        if self.price is not None:
            return self._regulated_power_with(self.price)
        if self.prices is not None:
            return PvpcTariff(prices=read_prices(self.prices, zone=self.zone))
        return PvpcTariff()

    def _regulated_power_with(self, price: str) -> Tariff:
        prices = parse_price(price)
        assert prices is not None  # noqa: S101 # only None gives None
        return FixedTariff(
            power_eur_per_kw_day={
                period: pvpc_eur_per_kw_year(period, self.day, rules=rules.load()) / _DAYS
                for period in PowerPeriod
            },
            energy=prices,
        )


def parse_decimal(option: str, text: str, *, most: Decimal) -> Decimal:
    """Read a number from 0 to `most`. Raises UsageError naming the option."""
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise UsageError(f"{option} {text[:20]!r} is not a number") from error
    if not (value.is_finite() and 0 <= value <= most):
        raise UsageError(f"{option} must be 0 to {most}, not {text[:20]}")
    return value


def read_tariff(path: Path, zone: TariffZone) -> Tariff:
    """Read a tariff file; the prices file it names is relative to its folder. Raises UsageError."""
    known: TypeAdapter[FixedInput | PvpcInput] = TypeAdapter(
        Annotated[FixedInput | PvpcInput, Field(discriminator="kind")]
    )
    try:
        document = known.validate_python(read_json(path))
    except ValidationError as error:
        raise UsageError(f"{path}: {describe(error)}") from error
    if isinstance(document, FixedInput):
        power = document.power_eur_per_kw_day
        return FixedTariff(
            power_eur_per_kw_day={PowerPeriod.P1: power.p1, PowerPeriod.P2: power.p2},
            energy=energy_price(document),
        )
    if document.prices_file is not None:
        return PvpcTariff(prices=read_prices(path.parent / document.prices_file, zone=zone))
    means = document.mean_prices
    return PvpcTariff(
        mean_prices=None if means is None else dict(zip(Period, (means.p1, means.p2, means.p3), strict=True))
    )
