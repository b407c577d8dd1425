"""What the settings say about push: who checks the caller, and whose tokens are expected on which subscription."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from expert_bot.config import Mode, Settings, variable_name
from expert_bot.errors import SettingError
from expert_bot.http.key_addresses import key_address
from expert_bot.http.oidc_keys import KeyCache
from expert_bot.http.push_auth import Authenticate, OidcAuthenticator, Pusher, accept_all

_MEANINGS: Final = (
    "'oidc' (this service checks the token that Google signs for each push), "
    "'iam' (Cloud Run has checked the caller), 'off' (nobody checks: emulators and embedded mode only)"
)
_SUBSCRIPTION_NAME: Final = re.compile(r"[A-Za-z][\w.~+%-]*", re.ASCII)  # an audience's URL has a colon


def make_authenticator(settings: Settings, subscriptions: Collection[str]) -> Authenticate:
    """Return the check that every push has to pass.

    Raises SettingError if nothing says who checks, if what is said cannot be true here, or if a subscription lacks its
    audience or service account.
    """
    mode = f"{variable_name('mode')}={settings.mode.value!r}"
    match settings.push_auth:
        case None if settings.mode is not Mode.EMBEDDED:
            raise SettingError(
                f"{variable_name('push_auth')}='' must say with {mode} who checks pushes: {_MEANINGS}"
            )
        case None | "off":
            if settings.mode is Mode.CLOUD or settings.k_service:
                raise SettingError(
                    f"{variable_name('push_auth')}='off' is not allowed with {mode}: anybody could push; "
                    "allowed: oidc, iam"
                )
            return accept_all
        case "iam":
            if not settings.k_service:
                raise SettingError(
                    f"{variable_name('push_auth')}='iam': outside Cloud Run (K_SERVICE is not set) nobody has checked "
                    "the caller; use 'oidc'"
                )
            return accept_all
        case "oidc":
            keys = KeyCache(key_address("push_certs_url", settings.push_certs_url))
            return OidcAuthenticator(keys.find, pushers(settings, subscriptions))


def pushers(settings: Settings, subscriptions: Collection[str]) -> dict[str, Pusher]:
    """Return whose tokens each subscription expects. Raises SettingError if one lacks its audience or service account."""
    audiences = _by_subscription("push_audiences", settings.push_audiences, subscriptions)
    emails = _by_subscription("push_service_accounts", settings.push_service_accounts, subscriptions)
    return {name: Pusher(audience=audiences[name], email=emails[name]) for name in subscriptions}


def _by_subscription(field: str, entries: Sequence[str], subscriptions: Collection[str]) -> Mapping[str, str]:
    """Read `SUBSCRIPTION=VALUE` entries, or one value for all."""
    given = f"{variable_name(field)}={','.join(entries)!r}"
    pairs = [_pair(entry) for entry in entries]
    if len(pairs) == 1 and pairs[0][0] is None and pairs[0][1]:
        return dict.fromkeys(subscriptions, pairs[0][1])
    values = {name: value for name, value in pairs if name is not None and value}
    if len(values) != len(pairs):
        raise SettingError(
            f"{given}: allowed: one value for all, or SUBSCRIPTION=VALUE once for each, comma separated"
        )
    known = ", ".join(sorted(subscriptions))
    if unknown := values.keys() - set(subscriptions):
        raise SettingError(f"{given}: no subscription {min(unknown)!r}; known: {known}")
    if missing := set(subscriptions) - values.keys():
        raise SettingError(
            f"{given}: has nothing for {min(missing)!r}; with {variable_name('push_auth')}='oidc' it must be "
            f"one value for all, or SUBSCRIPTION=VALUE for each of: {known}"
        )
    return values


def _pair(entry: str) -> tuple[str | None, str]:
    name, found, value = entry.partition("=")
    if found and _SUBSCRIPTION_NAME.fullmatch(name.strip()):
        return name.strip(), value.strip()
    return None, entry
