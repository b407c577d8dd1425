"""The statements of the embedded analytics file. `arrived` is the view of what the caller stores, as whole columns."""

# ruff: noqa: S608  # built from the names of our own tables and columns; every value is a parameter

from __future__ import annotations

from typing import Final

from expert_bot.storage.analytics_columns import NONE
from expert_bot.storage.analytics_tables import VALUE_COLUMNS, Table
from expert_bot.storage.duckdb_tables import TYPES

_NANO: Final = "0.000000001::DECIMAL(10,9)"
_STARTS_AT: Final = "make_timestamp(start_hour * 3600000000) AS starts_at"
_LOCAL_DATE: Final = "DATE '1970-01-01' + local_day::INTEGER AS local_date"


def _amount(column: str, name: str) -> str:
    return f"nullif({column}, {NONE})::DECIMAL(19,0) * {_NANO} AS {name}"


def _row(prefix: str) -> str:
    return "(" + ", ".join(f"{prefix}.{name}" for name in VALUE_COLUMNS) + ")"


# `news`: the hours that a load inserts, changes, or knows to be still true at a later time than was known before
NEWS: Final = f"""CREATE OR REPLACE TEMP TABLE news AS
    WITH stage AS (SELECT $user_id AS user_id, {_STARTS_AT}, {_amount("energy_nkwh", "energy_kwh")},
        CASE is_estimated WHEN 1 THEN 'estimated' ELSE 'real' END AS method, {_LOCAL_DATE}, local_hour,
        strftime(local_date, '%Y-%m') AS local_month, 'P' || period AS period,
        {_amount("surplus_nkwh", "surplus_kwh")}, {_amount("generation_nkwh", "generation_kwh")},
        {_amount("self_consumption_nkwh", "self_consumption_kwh")}, $as_of::TIMESTAMP AS as_of
        FROM arrived),
    compared AS (SELECT stage.*, stored.as_of AS stored_as_of,
        {_row("stored")} IS DISTINCT FROM {_row("stage")} AS differs
        FROM stage LEFT JOIN consumption_hourly AS stored USING (user_id, starts_at))
    FROM compared WHERE stored_as_of IS NULL OR stored_as_of < as_of OR (stored_as_of = as_of AND differs)"""

COUNT_NEWS: Final = """SELECT count(*) FILTER (stored_as_of IS NULL),
    count(*) FILTER (stored_as_of IS NOT NULL AND differs), count(*) FROM news"""

STORE_NEWS: Final = (
    "INSERT OR REPLACE INTO consumption_hourly BY NAME SELECT * EXCLUDE (stored_as_of, differs) FROM news"
)

PRICE_NEWS: Final = f"""CREATE OR REPLACE TEMP TABLE news AS
    WITH stage AS (SELECT $zone AS zone, {_STARTS_AT}, price_neur::DECIMAL(19,0) * {_NANO} AS price_eur_per_kwh,
        {_LOCAL_DATE} FROM arrived)
    SELECT stage.*, stored.zone IS NULL AS is_new FROM stage LEFT JOIN pvpc_hourly AS stored USING (zone, starts_at)
    WHERE (stored.price_eur_per_kwh, stored.local_date) IS DISTINCT FROM (stage.price_eur_per_kwh, stage.local_date)"""

COUNT_PRICE_NEWS: Final = "SELECT count(*) FILTER (is_new), count(*) FILTER (NOT is_new) FROM news"

STORE_PRICE_NEWS: Final = "INSERT OR REPLACE INTO pvpc_hourly BY NAME SELECT * EXCLUDE (is_new) FROM news"

CURVE: Final = f"""SELECT (epoch(starts_at) // 3600)::BIGINT AS start_hour,
    (energy_kwh * 1000000000)::BIGINT AS energy_nkwh, (method = 'estimated')::BIGINT AS is_estimated,
    coalesce((surplus_kwh * 1000000000)::BIGINT, {NONE}) AS surplus_nkwh
    FROM consumption_hourly
    WHERE user_id = $user_id AND local_date BETWEEN $first::DATE AND $last::DATE
    ORDER BY starts_at"""

PRICES: Final = """SELECT (epoch(starts_at) // 3600)::BIGINT AS start_hour,
    (price_eur_per_kwh * 1000000000)::BIGINT AS price_neur FROM pvpc_hourly
    WHERE zone = $zone AND local_date >= $first::DATE AND local_date < $until::DATE ORDER BY starts_at"""

MONTHS: Final = """SELECT local_month,
    sum(energy_kwh) FILTER (period = 'P1'), sum(energy_kwh) FILTER (period = 'P2'),
    sum(energy_kwh) FILTER (period = 'P3'),
    count(*), count(*) FILTER (method = 'estimated'), min(local_date)::VARCHAR, max(local_date)::VARCHAR
    FROM consumption_hourly WHERE user_id = $user_id GROUP BY local_month ORDER BY local_month"""


def insert_missing(table: Table) -> str:
    """Return the statement that adds rows, given as one list of texts per column, unless their key is there."""
    columns = [f"unnest(${each.name}::VARCHAR[])::{TYPES[each.kind]}" for each in table.columns]
    return f"INSERT OR IGNORE INTO {table.name} SELECT {', '.join(columns)}"


def recent(table: Table) -> str:
    """Return the query for the newest rows of a log."""
    return f"FROM {table.name} WHERE recorded_at >= $since::TIMESTAMP ORDER BY recorded_at DESC, row_id LIMIT $limit"
