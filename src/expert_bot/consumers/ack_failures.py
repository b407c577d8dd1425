"""What the broker says about single acknowledgements of an exactly-once subscription.

https://cloud.google.com/pubsub/docs/exactly-once-delivery: the error's google.rpc.ErrorInfo maps each failed ack id to
`TRANSIENT_FAILURE_...` or `PERMANENT_FAILURE_...`; ids it does not name have succeeded.
"""

from __future__ import annotations

import grpc.aio
from google.rpc.error_details_pb2 import ErrorInfo  # type: ignore[import-untyped]  # shipped without type information
from grpc_status import rpc_status  # type: ignore[import-untyped]  # the same


def failures_by_ack_id(error: grpc.aio.AioRpcError) -> dict[str, str]:
    """Return the failure of each ack id the error names; empty if it is about the request as a whole."""
    try:
        status = rpc_status.from_call(error)
    except ValueError:  # the details contradict the status: believe the status
        return {}
    for detail in status.details if status is not None else ():
        facts = ErrorInfo()
        if detail.Unpack(facts):
            return {
                ack_id: failure
                for ack_id, failure in facts.metadata.items()
                if failure.startswith(("TRANSIENT_FAILURE_", "PERMANENT_FAILURE_"))
            }
    return {}


def split(failures: dict[str, str]) -> tuple[list[str], list[str]]:
    """Return the ack ids worth trying again, and those that never will succeed."""
    again = [ack_id for ack_id, failure in failures.items() if failure.startswith("TRANSIENT_")]
    never = [ack_id for ack_id, failure in failures.items() if failure.startswith("PERMANENT_")]
    return again, never
