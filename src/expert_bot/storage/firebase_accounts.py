"""What Firebase knows of an account: whether it is there, disabled, and since when its tokens are good.

Source: Identity Platform REST API, projects.accounts.lookup (permission `firebaseauth.users.get`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Final

from aiohttp import ClientError, ClientSession, ClientTimeout

from expert_bot.errors import MalformedEventError, StoreUnavailableError
from expert_bot.schemas import strict_json

if TYPE_CHECKING:
    from google.auth.credentials import Credentials

ACCOUNTS_URL: Final = "https://identitytoolkit.googleapis.com"
LOOKUP_TIMEOUT_S: Final = 3.0
TOKEN_TIMEOUT_S: Final = 10.0
_SCOPES: Final = ("https://www.googleapis.com/auth/identitytoolkit",)
_OK: Final = 200

AccessToken = Callable[[], Awaitable[str]]
"""Returns an OAuth 2.0 access token of this service's account. Raises StoreUnavailableError."""


class FirebaseAccounts:
    """Asks about one account at a time; nothing is remembered, so that a revocation holds from the next request on."""

    def __init__(
        self,
        *,
        project: str,
        access_token: AccessToken,
        url: str = ACCOUNTS_URL,
        timeout_s: float = LOOKUP_TIMEOUT_S,
    ) -> None:
        self._url = f"{url}/v1/projects/{project}/accounts:lookup"
        self._access_token = access_token
        self._timeout = ClientTimeout(total=timeout_s)

    async def is_revoked(self, user_id: str, auth_time: int) -> bool:
        """Tell whether a token of somebody who signed in at `auth_time` (seconds since the epoch) is no longer good.

        That is so, too, if the account has been deleted. Raises StoreUnavailableError.
        """
        headers = {"Authorization": f"Bearer {await self._access_token()}"}
        try:
            async with (
                ClientSession(timeout=self._timeout) as session,
                session.post(
                    self._url, json={"localId": [user_id]}, headers=headers, allow_redirects=False
                ) as response,
            ):
                body = await response.read()
                if response.status != _OK:
                    raise StoreUnavailableError(f"accounts: status {response.status}")
        except (ClientError, TimeoutError, OSError) as error:
            raise StoreUnavailableError(f"accounts: {type(error).__name__}") from error
        account = _account(body, user_id)
        if account is None or account.get("disabled", False) is not False:
            return True
        return auth_time < _valid_since(account)


class GoogleAccessToken:
    """Access tokens of the application default credentials, renewed in a thread when they are about to expire."""

    def __init__(self) -> None:
        self._credentials: Credentials | None = None
        self._lock = asyncio.Lock()

    async def __call__(self) -> str:
        """Return a token that is good now. Raises StoreUnavailableError."""
        try:
            async with self._lock, asyncio.timeout(TOKEN_TIMEOUT_S):
                return await asyncio.to_thread(self._renewed)
        except TimeoutError as error:
            raise StoreUnavailableError("accounts: no access token in time") from error

    def _renewed(self) -> str:
        import google.auth  # noqa: PLC0415  # a service that trusts local tokens does without
        from google.auth.exceptions import GoogleAuthError  # noqa: PLC0415  # the same
        from google.auth.transport.requests import Request  # noqa: PLC0415  # the same

        try:
            if self._credentials is None:
                self._credentials, _ = google.auth.default(scopes=_SCOPES)
            if not self._credentials.valid:
                self._credentials.refresh(Request())  # type: ignore[no-untyped-call]  # google-auth has no types here
        except GoogleAuthError as error:
            raise StoreUnavailableError(f"accounts: {type(error).__name__}") from error
        return str(self._credentials.token)


def _account(body: bytes, user_id: str) -> Mapping[str, strict_json.JsonValue] | None:
    """Return the account of a lookup's answer, None if there is none. Raises StoreUnavailableError for any other answer."""
    try:
        document = strict_json.loads(body)
    except MalformedEventError as error:
        raise StoreUnavailableError(f"accounts: {error.detail}") from error
    found = document.get("users", []) if isinstance(document, dict) else None
    if found == []:
        return None
    if (
        isinstance(found, list)
        and isinstance(account := found[0], dict)
        and account.get("localId") == user_id
    ):
        return account
    raise StoreUnavailableError("accounts: an answer of another form")


def _valid_since(account: Mapping[str, strict_json.JsonValue]) -> int:
    """Return seconds since the epoch, which JSON has as text; an account without was never revoked."""
    value = account.get("validSince", "0")
    if not isinstance(value, str) or not (value.isascii() and value.isdigit()):
        raise StoreUnavailableError("accounts: validSince is no number of seconds")
    return int(value)
