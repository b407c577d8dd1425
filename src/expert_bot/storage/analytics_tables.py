"""The analytics tables, described once for every engine.

In the cloud Terraform creates them; the embedded file and the tests have them made from here. `user_id` is everywhere
the pseudonym of a user id.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final

from expert_bot.ports_analytics import (
    AsyncTaskRow,
    LogRow,
    UploadedDocumentRow,
    UserAnalyticsRow,
    WorkerMetricsRow,
)


class Kind(StrEnum):
    """What a column holds. DECIMAL has 9 decimals, exactly; INSTANT is UTC, to the microsecond."""

    TEXT = "text"
    INTEGER = "integer"
    DECIMAL = "decimal"
    DAY = "day"
    INSTANT = "instant"


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `required` ones have a value in every row."""

    name: str
    kind: Kind
    required: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table: `key` names the columns that tell its rows apart, `partition` the day or instant it is divided by."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    partition: str
    cluster: tuple[str, ...]


CONSUMPTION: Final = Table(
    name="consumption_hourly",
    columns=(
        Column("user_id", Kind.TEXT),
        Column("starts_at", Kind.INSTANT),
        Column("energy_kwh", Kind.DECIMAL),
        Column("method", Kind.TEXT),
        Column("local_date", Kind.DAY),
        Column("local_hour", Kind.INTEGER),
        Column("local_month", Kind.TEXT),
        Column("period", Kind.TEXT),
        Column("surplus_kwh", Kind.DECIMAL, required=False),
        Column("generation_kwh", Kind.DECIMAL, required=False),
        Column("self_consumption_kwh", Kind.DECIMAL, required=False),
        Column("as_of", Kind.INSTANT),
    ),
    key=("user_id", "starts_at"),
    partition="local_date",
    cluster=("user_id",),
)

PRICES: Final = Table(
    name="pvpc_hourly",
    columns=(
        Column("zone", Kind.TEXT),
        Column("starts_at", Kind.INSTANT),
        Column("price_eur_per_kwh", Kind.DECIMAL),
        Column("local_date", Kind.DAY),
    ),
    key=("zone", "starts_at"),
    partition="local_date",
    cluster=("zone",),
)

VALUE_COLUMNS: Final = tuple(
    column.name
    for column in CONSUMPTION.columns
    if column.name not in (*CONSUMPTION.key, "local_month", "as_of")
)
"""What of a stored hour can change: if any of these differs, the hour is another one."""


def _log(name: str, kind: type[LogRow], cluster: tuple[str, ...]) -> Table:
    """Describe a log: its columns are the row's fields, of the types that they are declared with."""
    return Table(
        name=name,
        columns=tuple(_column(each.name, str(each.type)) for each in fields(kind)),
        key=("row_id",),
        partition="recorded_at",
        cluster=cluster,
    )


def _column(name: str, declared: str) -> Column:
    base, _, optional = declared.partition(" | ")
    kinds = {
        "str": Kind.TEXT,
        "int": Kind.INTEGER,
        "Decimal": Kind.DECIMAL,
        "date": Kind.DAY,
        "datetime": Kind.INSTANT,
    }
    return Column(name, kinds[base], required=not optional)


LOGS: Final[dict[type[LogRow], Table]] = {
    UploadedDocumentRow: _log("uploaded_documents_log", UploadedDocumentRow, ("user_id",)),
    AsyncTaskRow: _log("async_tasks", AsyncTaskRow, ("user_id", "task_id")),
    WorkerMetricsRow: _log("worker_metrics", WorkerMetricsRow, ("name",)),
    UserAnalyticsRow: _log("user_analytics", UserAnalyticsRow, ("user_id", "name")),
}
"""The table of each kind of log row."""

TABLES: Final = (CONSUMPTION, PRICES, *LOGS.values())
