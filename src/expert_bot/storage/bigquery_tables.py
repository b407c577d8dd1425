"""The analytics tables as BigQuery has them. In the cloud Terraform creates them; this is for emulators."""

from __future__ import annotations

from typing import Final

from google.cloud import bigquery

from expert_bot.storage.analytics_tables import TABLES, Kind, Table

_TYPES: Final = {
    Kind.TEXT: "STRING",
    Kind.INTEGER: "INT64",
    Kind.DECIMAL: "NUMERIC",  # 29 digits before the point and exactly 9 after it
    Kind.DAY: "DATE",
    Kind.INSTANT: "TIMESTAMP",
}


def bigquery_tables(dataset: str) -> list[bigquery.Table]:
    """Return every table of a dataset (`PROJECT.DATASET`): columns, daily partitions, clustering."""
    return [_bigquery_table(dataset, table) for table in TABLES]


def _bigquery_table(dataset: str, table: Table) -> bigquery.Table:
    described = bigquery.Table(
        f"{dataset}.{table.name}",
        schema=[
            bigquery.SchemaField(
                column.name, _TYPES[column.kind], mode="REQUIRED" if column.required else "NULLABLE"
            )
            for column in table.columns
        ],
    )
    described.time_partitioning = bigquery.TimePartitioning(field=table.partition)
    described.clustering_fields = list(table.cluster)
    return described
