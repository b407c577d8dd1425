"""BigQuery's statements. `{dataset}` stands for `PROJECT.DATASET`; everything that users bring is a parameter.

What is stored arrives in one text parameter, `@hours`: `;` between rows, `,` between integers. A day of hours takes a
kilobyte, ten years a third of what one request may have, and one MERGE stores it: nothing is staged, so nothing can be
left half done. Arithmetic is NUMERIC's, which is exact; division is not used, engines round it differently.
"""

# ruff: noqa: S608  # built from the names of our own tables and columns; every value is a parameter

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from expert_bot.storage.analytics_columns import NONE, Columns
from expert_bot.storage.analytics_tables import CONSUMPTION, VALUE_COLUMNS, Table


def packed(columns: Columns) -> str:
    """Return columns as the text that the statements take apart again."""
    rows: list[list[int]] = np.column_stack(list(columns.values())).tolist()
    return ";".join(",".join(map(str, row)) for row in rows)


def _amount(position: int, name: str) -> str:
    return f"CAST(NULLIF(f[OFFSET({position})], '{NONE}') AS NUMERIC) * NUMERIC '0.000000001' AS {name}"


def _differs(names: Sequence[str]) -> str:
    return " OR ".join(f"T.{name} IS DISTINCT FROM S.{name}" for name in names)


def _assignments(names: Sequence[str]) -> str:
    return ", ".join(f"{name} = S.{name}" for name in names)


_FIELDS: Final = "(SELECT SPLIT(line, ',') AS f FROM UNNEST(SPLIT(@hours, ';')) AS line)"
_STARTS_AT: Final = "TIMESTAMP_SECONDS(CAST(f[OFFSET(0)] AS INT64) * 3600) AS starts_at"

_ARRIVED: Final = f"""SELECT @user_id AS user_id, {_STARTS_AT}, {_amount(1, "energy_kwh")},
        IF(f[OFFSET(2)] = '1', 'estimated', 'real') AS method,
        DATE_FROM_UNIX_DATE(CAST(f[OFFSET(3)] AS INT64)) AS local_date, CAST(f[OFFSET(4)] AS INT64) AS local_hour,
        FORMAT_DATE('%Y-%m', DATE_FROM_UNIX_DATE(CAST(f[OFFSET(3)] AS INT64))) AS local_month,
        CONCAT('P', f[OFFSET(5)]) AS period, {_amount(6, "surplus_kwh")}, {_amount(7, "generation_kwh")},
        {_amount(8, "self_consumption_kwh")}, @as_of AS as_of
        FROM {_FIELDS}"""

_MATCH: Final = f"""MERGE `{{dataset}}.consumption_hourly` AS T USING ({_ARRIVED}) AS S
    ON T.user_id = @user_id AND T.starts_at = S.starts_at AND T.local_date BETWEEN @first AND @last"""

_ALL: Final = tuple(column.name for column in CONSUMPTION.columns)
_CHANGED: Final = (*VALUE_COLUMNS, "local_month", "as_of")

STORE_HOURS: Final = f"""{_MATCH}
    WHEN MATCHED AND T.as_of <= S.as_of AND ({_differs(VALUE_COLUMNS)})
        THEN UPDATE SET {_assignments(_CHANGED)}
    WHEN NOT MATCHED THEN INSERT ({", ".join(_ALL)}) VALUES ({", ".join(f"S.{name}" for name in _ALL)})"""
"""Inserts and changes: what the statement's own statistics count."""

CONFIRM_HOURS: Final = f"""{_MATCH}
    WHEN MATCHED AND T.as_of < S.as_of THEN UPDATE SET {_assignments(_CHANGED)}"""
"""Hours known before whose value is still true: they get the later `as_of`, so that nothing older replaces them."""

STORE_PRICES: Final = f"""MERGE `{{dataset}}.pvpc_hourly` AS T USING (
        SELECT @zone AS zone, {_STARTS_AT}, CAST(f[OFFSET(1)] AS NUMERIC) * NUMERIC '0.000000001' AS price_eur_per_kwh,
        DATE_FROM_UNIX_DATE(CAST(f[OFFSET(2)] AS INT64)) AS local_date FROM {_FIELDS}) AS S
    ON T.zone = S.zone AND T.starts_at = S.starts_at AND T.local_date BETWEEN @first AND @last
    WHEN MATCHED AND T.price_eur_per_kwh <> S.price_eur_per_kwh
        THEN UPDATE SET price_eur_per_kwh = S.price_eur_per_kwh
    WHEN NOT MATCHED THEN INSERT (zone, starts_at, price_eur_per_kwh, local_date)
        VALUES (S.zone, S.starts_at, S.price_eur_per_kwh, S.local_date)"""

CURVE: Final = f"""SELECT DIV(UNIX_SECONDS(starts_at), 3600), CAST(energy_kwh * 1000000000 AS INT64),
    IF(method = 'estimated', 1, 0), IFNULL(CAST(surplus_kwh * 1000000000 AS INT64), {NONE})
    FROM `{{dataset}}.consumption_hourly`
    WHERE user_id = @user_id AND local_date BETWEEN @first AND @last
    ORDER BY starts_at"""

PRICES: Final = """SELECT DIV(UNIX_SECONDS(starts_at), 3600), CAST(price_eur_per_kwh * 1000000000 AS INT64)
    FROM `{dataset}.pvpc_hourly`
    WHERE zone = @zone AND local_date >= @first AND local_date < @until ORDER BY starts_at"""

MONTHS: Final = """SELECT local_month,
    SUM(IF(period = 'P1', energy_kwh, NULL)), SUM(IF(period = 'P2', energy_kwh, NULL)),
    SUM(IF(period = 'P3', energy_kwh, NULL)), COUNT(*), COUNTIF(method = 'estimated'),
    CAST(MIN(local_date) AS STRING), CAST(MAX(local_date) AS STRING)
    FROM `{dataset}.consumption_hourly` WHERE user_id = @user_id GROUP BY local_month ORDER BY local_month"""


def recent(table: Table) -> str:
    """Return the query for the newest rows of a log, each `row_id` once: a repeated append may have left it twice."""
    columns = ", ".join(column.name for column in table.columns)
    return f"""SELECT {columns} FROM `{{dataset}}.{table.name}` WHERE recorded_at >= @since
    QUALIFY ROW_NUMBER() OVER (PARTITION BY row_id ORDER BY recorded_at) = 1
    ORDER BY recorded_at DESC, row_id LIMIT @most"""
