"""What the settings say about push, and every way in which they do not say enough."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import pytest

from expert_bot.config import Mode, Settings
from expert_bot.errors import SettingError
from expert_bot.http.push_auth import OidcAuthenticator, Pusher, accept_all
from expert_bot.http.push_settings import make_authenticator, pushers
from expert_bot.service import run_service

NAMES = ("expert-bot-chat-requests", "expert-bot-pv-requests")
CHAT, PV = NAMES
A, B = "https://bot.example.org/a?x=1", "https://bot.example.org/b"
EMAIL = "pusher@example-project.iam.gserviceaccount.com"
EMULATORS = {"mode": Mode.EMULATORS}
CLOUD_RUN = {"mode": Mode.CLOUD, "k_service": "expert-bot"}
CLOUD = {"mode": Mode.CLOUD}
OIDC = {"push_auth": "oidc", "push_audiences": (A,), "push_service_accounts": (EMAIL,)}


def settings(fields: Mapping[str, Any]) -> Settings:
    """Return settings with these fields, past the environment's names."""
    return Settings().model_copy(update=dict(fields))


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({}, id="embedded"),
        pytest.param({"push_auth": "off"}, id="embedded, off"),
        pytest.param(EMULATORS | {"push_auth": "off"}, id="emulators, off"),
        pytest.param(CLOUD_RUN | {"push_auth": "iam"}, id="Cloud Run, iam"),
    ],
)
def test_where_somebody_else_checks_or_nobody_needs_to_all_are_accepted(fields: dict[str, Any]) -> None:
    """Only a laptop goes without a check unasked."""
    assert make_authenticator(settings(fields), NAMES) is accept_all


@pytest.mark.parametrize("mode", [{}, EMULATORS, CLOUD, CLOUD_RUN], ids=["embedded", "emulators", "cloud", "Cloud Run"])  # fmt: skip
@pytest.mark.parametrize(
    "url",
    [
        "https://www.googleapis.com/oauth2/v3/certs",
        "http://127.0.0.1:8081/certs",
        "http://localhost/certs",
        "http://[::1]:1/certs",
    ],
)
def test_tokens_can_be_checked_in_every_mode(mode: dict[str, Any], url: str) -> None:
    """With an audience, an account and a safe address of the keys."""
    assert isinstance(
        make_authenticator(settings(mode | OIDC | {"push_certs_url": url}), NAMES), OidcAuthenticator
    )


@pytest.mark.parametrize(
    ("parts", "fields"),
    [
        pytest.param(["PUSH_AUTH=''", "MODE='cloud'", "'oidc' (", "'iam' (", "'off' ("], CLOUD_RUN, id="Cloud Run, nothing said"),
        pytest.param(["PUSH_AUTH=''", "MODE='emulators'", "'oidc' (", "'iam' (", "'off' ("], EMULATORS, id="emulators, nothing said"),
        pytest.param(["PUSH_AUTH='off'", "allowed: oidc, iam"], CLOUD | {"push_auth": "off"}, id="cloud, off"),
        pytest.param(["PUSH_AUTH='off'", "allowed: oidc, iam"], CLOUD_RUN | {"push_auth": "off"}, id="Cloud Run, off"),
        pytest.param(["PUSH_AUTH='off'"], {"k_service": "x"}, id="embedded on Cloud Run"),
        pytest.param(["PUSH_AUTH='iam'", "K_SERVICE", "'oidc'"], CLOUD | {"push_auth": "iam"}, id="cloud elsewhere, iam"),
        pytest.param(["PUSH_AUTH='iam'", "K_SERVICE"], {"push_auth": "iam"}, id="embedded, iam"),
        pytest.param(["PUSH_AUDIENCES=''", CHAT, PV], OIDC | {"push_audiences": ()}, id="no audience"),
        pytest.param(["PUSH_SERVICE_ACCOUNTS=''", CHAT, PV], OIDC | {"push_service_accounts": ()}, id="no account"),
        pytest.param(["PUSH_AUDIENCES=", "nothing for 'expert-bot-pv-requests'"], OIDC | {"push_audiences": (f"{CHAT}={A}",)}, id="one of two"),
        pytest.param(["PUSH_AUDIENCES=", "no subscription 'expert-bot-pvpc-requests'", CHAT], OIDC | {"push_audiences": (f"{CHAT}={A}", f"{PV}={B}", f"expert-bot-pvpc-requests={B}")}, id="unknown subscription"),
        pytest.param(["PUSH_AUDIENCES=", "SUBSCRIPTION=VALUE"], OIDC | {"push_audiences": (A, B)}, id="two for all"),
        pytest.param(["PUSH_AUDIENCES=", "once for each"], OIDC | {"push_audiences": (f"{CHAT}={A}", f"{CHAT}={B}", f"{PV}={B}")}, id="twice for one"),
        pytest.param(["PUSH_AUDIENCES=", "SUBSCRIPTION=VALUE"], OIDC | {"push_audiences": (f"{CHAT}=", f"{PV}={B}")}, id="empty value"),
        pytest.param(["PUSH_CERTS_URL='http://keys.example.org/certs'", "https://"], OIDC | {"push_certs_url": "http://keys.example.org/certs"}, id="keys over http"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "http://127.0.0.1.example.org/"}, id="looks like loopback"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "http://127.0.0.1@example.org/"}, id="loopback as a user"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "file:///etc/certs"}, id="keys from a file"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "certs"}, id="no address"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "https://[x/"}, id="broken address"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "https://keys.example.org:x/"}, id="broken port"),
        pytest.param(["PUSH_CERTS_URL="], OIDC | {"push_certs_url": "https:///certs"}, id="no host"),
    ],
)  # fmt: skip
async def test_a_service_that_could_not_keep_strangers_out_does_not_start(
    parts: list[str], fields: dict[str, Any]
) -> None:
    """The error names the variable, its value and what is allowed, on one line; nothing has been opened yet."""
    with pytest.raises(SettingError) as refused:
        make_authenticator(settings(fields), NAMES)
    message = str(refused.value)
    assert message.startswith(f"EXPERT_BOT_{parts[0]}")
    assert [part for part in parts if part not in message] == [], message
    assert "\n" not in message


async def test_serve_asks_who_checks_before_it_opens_anything() -> None:
    """Without an answer there is no service, with emulators that are not even there."""
    with pytest.raises(SettingError, match="EXPERT_BOT_PUSH_AUTH=''"):
        await run_service(settings(EMULATORS), with_http=True)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL, (
        "whoever goes on, or starts a process, must be stoppable"
    )


@pytest.mark.parametrize(
    ("expected", "audiences", "accounts"),
    [
        pytest.param([(A, EMAIL), (A, EMAIL)], (A,), (EMAIL,), id="one for all"),
        pytest.param([(A, EMAIL), (B, EMAIL)], (f"{CHAT}={A}", f"{PV}={B}"), (EMAIL,), id="audience for each"),
        pytest.param([(A, EMAIL), (A, "x@y.z")], (A,), (f"{PV} = x@y.z", f"{CHAT}={EMAIL}"), id="account for each"),
    ],
)  # fmt: skip
def test_one_value_is_for_all_subscriptions(
    expected: list[tuple[str, str]], audiences: tuple[str, ...], accounts: tuple[str, ...]
) -> None:
    """An equals sign in an audience's query does not make a name of what stands before it."""
    fields = OIDC | {"push_audiences": audiences, "push_service_accounts": accounts}
    assert pushers(settings(fields), NAMES) == {
        name: Pusher(audience=audience, email=email)
        for name, (audience, email) in zip(NAMES, expected, strict=True)
    }
