"""The command that stands in for signing in where there is no Firebase."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime
from typing import Annotated, Final

import typer

from expert_bot.commands.common import AsJson, User, print_json, start
from expert_bot.config import Settings, variable_name
from expert_bot.errors import UsageError
from expert_bot.http.firebase_tokens import Role
from expert_bot.http.identity import auth_of
from expert_bot.schemas.envelope import format_timestamp
from expert_bot.schemas.identifiers import USER_ID_PATTERN
from expert_bot.storage.local_signer import LOCAL_ISSUER, local_signer

_USER_ID: Final = re.compile(USER_ID_PATTERN)
_MAX_MINUTES: Final = 1440


def add_to(app: typer.Typer) -> None:
    """Add `token`."""
    app.command()(token)


def token(
    user: User,
    role: Annotated[Role | None, typer.Option(help="Give this role.")] = None,
    name: Annotated[str | None, typer.Option(help="The display name.")] = None,
    email: Annotated[str | None, typer.Option(help="An e-mail address, taken as verified.")] = None,
    minutes: Annotated[int, typer.Option(min=1, max=_MAX_MINUTES, help="How long it is good.")] = 60,
    as_json: AsJson = False,
) -> None:
    """Print a token with which this user calls the HTTP routes of a `serve` on the same data folder."""
    settings = start(quiet=True)
    if auth_of(settings) != "local":
        raise UsageError(
            f"with {variable_name('auth')}='firebase' tokens are Firebase's: sign in there; `expert-bot token` is for 'local'"
        )
    if not _USER_ID.fullmatch(user):
        raise UsageError(f"--user {user!r} must match {USER_ID_PATTERN}")
    now = int(time.time())
    signed = local_signer(settings.data_dir).sign(
        _claims(settings, user, role=role, name=name, email=email, now=now, minutes=minutes)
    )
    if as_json:
        expires_at = format_timestamp(datetime.fromtimestamp(now + minutes * 60, UTC))
        print_json({"token": signed, "user_id": user, "role": role, "expires_at": expires_at})
    else:
        typer.echo(signed)


def _claims(
    settings: Settings,
    user: str,
    *,
    role: Role | None,
    name: str | None,
    email: str | None,
    now: int,
    minutes: int,
) -> dict[str, object]:
    """Return the claims as Firebase would have them, but for the issuer."""
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": settings.project,
        "sub": user,
        "auth_time": now,
        "iat": now,
        "exp": now + minutes * 60,
        "role": role,
        "name": name,
        "email": email,
        "email_verified": True if email else None,
    }
    return {claim: value for claim, value in claims.items() if value is not None}
