"""The tables of the embedded analytics file, and the way there from files that older versions wrote."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import duckdb

from expert_bot.storage.analytics_tables import CONSUMPTION, TABLES, Kind, Table

TYPES: Final = {
    Kind.TEXT: "VARCHAR",
    Kind.INTEGER: "BIGINT",
    Kind.DECIMAL: "DECIMAL(38,9)",
    Kind.DAY: "DATE",
    Kind.INSTANT: "TIMESTAMP",
}
_OLD: Final = """SELECT count(*) FROM duckdb_tables() AS tables WHERE table_name = 'consumption_hourly'
    AND NOT EXISTS (FROM duckdb_columns() WHERE table_oid = tables.table_oid AND column_name = 'as_of')"""


def create_statement(table: Table) -> str:
    """Return the statement that creates a table unless it is there."""
    columns = [
        f"{column.name} {TYPES[column.kind]}{' NOT NULL' if column.required else ''}"
        for column in table.columns
    ]
    return f"CREATE TABLE IF NOT EXISTS {table.name} ({', '.join(columns)}, PRIMARY KEY ({', '.join(table.key)}))"


class Preparation:
    """What happens at every opening of a file: missing tables are made; the first time, old ones are brought forward.

    Hours of before uploads had times count as older than every upload. Their plain user ids become pseudonyms.
    """

    def __init__(self, pseudonym: Callable[[str], str]) -> None:
        self._pseudonym = pseudonym
        self._statements = [create_statement(table) for table in TABLES]
        self._was_brought_forward = False

    def __call__(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Prepare an open file."""
        if not self._was_brought_forward:
            self._bring_forward(connection)
            self._was_brought_forward = True
        for statement in self._statements:
            connection.execute(statement)

    def _bring_forward(self, connection: duckdb.DuckDBPyConnection) -> None:
        (is_old,) = connection.execute(_OLD).fetchone() or (0,)
        if not is_old:
            return
        connection.begin()
        connection.execute("CREATE OR REPLACE TEMP TABLE earlier AS FROM consumption_hourly")
        connection.execute("DROP TABLE consumption_hourly")
        connection.execute(create_statement(CONSUMPTION))
        users = connection.execute("SELECT DISTINCT user_id FROM earlier").fetchall()
        for (user_id,) in users:
            connection.execute(
                """INSERT INTO consumption_hourly BY NAME
                SELECT * REPLACE ($pseudonym AS user_id), TIMESTAMP '1970-01-01' AS as_of
                FROM earlier WHERE user_id = $user_id""",
                {"pseudonym": self._pseudonym(user_id), "user_id": user_id},
            )
        connection.commit()
