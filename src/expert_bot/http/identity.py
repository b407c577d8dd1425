"""What the settings say about callers: whose tokens they bring, who is an admin, and whose tokens have been revoked."""

from __future__ import annotations

from typing import Final, Literal

from expert_bot.config import Mode, Settings, variable_name
from expert_bot.errors import SettingError
from expert_bot.http.callers import IsRevoked
from expert_bot.http.firebase_tokens import FIREBASE_ISSUER, TokenReader
from expert_bot.http.key_addresses import key_address
from expert_bot.http.oidc_keys import KeyCache
from expert_bot.ports import DocumentReader
from expert_bot.storage.firebase_accounts import FirebaseAccounts, GoogleAccessToken
from expert_bot.storage.local_signer import LOCAL_ISSUER, local_signer
from expert_bot.storage.token_revocations import UsersRevocations

_NO_PROJECT: Final = Settings.model_fields["project"].default


def auth_of(settings: Settings) -> Literal["firebase", "local"]:
    """Return whose tokens are trusted. Raises SettingError if that cannot be here."""
    auth = settings.auth or ("firebase" if settings.mode is Mode.CLOUD else "local")
    if auth == "local" and (settings.mode is Mode.CLOUD or settings.k_service):
        raise SettingError(
            f"{variable_name('auth')}='local' is not allowed with {variable_name('mode')}={settings.mode.value!r}: "
            "whoever can read the key's file could be anybody; allowed: firebase"
        )
    if auth == "firebase" and settings.project == _NO_PROJECT:
        raise SettingError(
            f"{variable_name('project')}='' must name the Firebase project with {variable_name('auth')}='firebase'"
        )
    return auth


def make_token_reader(settings: Settings) -> TokenReader:
    """Return the reader of callers' tokens; local ones are checked by the data folder's key, made if there is none.

    Raises SettingError, or UsageError if the data folder cannot be used.
    """
    if auth_of(settings) == "local":
        return TokenReader(
            local_signer(settings.data_dir).find_key,
            issuer=LOCAL_ISSUER,
            audience=settings.project,
            admin_ids=settings.admin_uids,
        )
    return TokenReader(
        KeyCache(key_address("firebase_keys_url", settings.firebase_keys_url)).find,
        issuer=f"{FIREBASE_ISSUER}{settings.project}",
        audience=settings.project,
        admin_ids=settings.admin_uids,
    )


def make_revocations(settings: Settings, documents: DocumentReader) -> IsRevoked:
    """Return what tells whose tokens have been revoked: the account records, and in cloud mode Firebase as well."""
    records = UsersRevocations(documents)
    if settings.mode is not Mode.CLOUD:
        return records.is_revoked
    accounts = FirebaseAccounts(project=settings.project, access_token=GoogleAccessToken())

    async def is_revoked(user_id: str, auth_time: int) -> bool:
        return await records.is_revoked(user_id, auth_time) or await accounts.is_revoked(user_id, auth_time)

    return is_revoked
