"""What a mode's adapters are together."""

from __future__ import annotations

from dataclasses import dataclass

from expert_bot.errors import UsageError
from expert_bot.ports import (
    Analytics,
    BusAdmin,
    Clock,
    Documents,
    Files,
    Identity,
    MakeConsumer,
    Publisher,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapters:
    """Everything outside, behind its ports. `admin` is None where topics and subscriptions are Terraform's."""

    documents: Documents
    publisher: Publisher
    identity: Identity
    clock: Clock
    make_consumer: MakeConsumer
    files: Files
    analytics: Analytics
    admin: BusAdmin | None = None

    def require_admin(self) -> BusAdmin:
        """Return the admin. Raises UsageError where topics and subscriptions are Terraform's."""
        if self.admin is None:
            raise UsageError(
                "in cloud mode topics and subscriptions are created by Terraform, from infra/topics.json"
            )
        return self.admin
