"""What routes ask of their callers, whose tokens are trusted, and whose have been revoked."""

from __future__ import annotations

import stat
import time
from collections.abc import Awaitable, Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient

from expert_bot.config import Mode, Settings
from expert_bot.errors import SettingError, StoreUnavailableError, UsageError
from expert_bot.http.callers import Callers, Level, level_of
from expert_bot.http.firebase_tokens import Caller, TokenReader
from expert_bot.http.identity import auth_of, make_token_reader
from expert_bot.http.server import make_app
from expert_bot.http.signed_tokens import NotAuthenticatedError
from expert_bot.ports import DocKey, Fields, Put
from expert_bot.storage.local_signer import LOCAL_ISSUER, LocalSigner, local_signer
from expert_bot.storage.memory_documents import MemoryDocuments
from expert_bot.storage.token_revocations import UsersRevocations
from tests.token_mint import signer

PROJECT = "example-project"
SIGNED_IN = 1_700_000_000
SIGNER = LocalSigner(signer("local").key)
Client = TestClient[web.Request, web.Application]
MakeClient = Callable[[web.Application], Awaitable[Client]]


def token(user_id: str = "user-ana", **changes: Any) -> str:
    """Return a good token of the local signer, but for these claims."""
    now = int(time.time())
    claims = {
        "iss": LOCAL_ISSUER,
        "aud": PROJECT,
        "sub": user_id,
        "auth_time": SIGNED_IN,
        "iat": now,
        "exp": now + 3600,
    }
    return SIGNER.sign(claims | changes)  # fmt: skip


def reader(**changes: Any) -> TokenReader:
    """Return a reader of these tokens."""
    return TokenReader(SIGNER.find_key, **({"issuer": LOCAL_ISSUER, "audience": PROJECT} | changes))


class Revoked:
    """An `is_revoked` with a fixed answer, that records what it was asked."""

    def __init__(self, *, answer: bool | StoreUnavailableError = False) -> None:
        self.answer = answer
        self.asked: list[tuple[str, int]] = []

    async def __call__(self, user_id: str, auth_time: int) -> bool:
        self.asked.append((user_id, auth_time))
        if isinstance(self.answer, StoreUnavailableError):
            raise self.answer
        return self.answer


async def say(_request: web.Request, caller: Caller) -> web.Response:
    """Say who calls."""
    return web.json_response({"user_id": caller.user_id})


@pytest.fixture
def ask(aiohttp_client: MakeClient) -> Callable[..., Awaitable[tuple[int, str]]]:
    """Return a function that asks a route of a level; it returns status and the problem's reason."""

    async def ask(level: Level, bearer: str | None, revoked: Revoked, **changes: Any) -> tuple[int, str]:
        callers = Callers(reader(**changes), revoked)
        client = await aiohttp_client(make_app([web.get("/", callers.guarded(level, say))]))
        headers = {"Authorization": f"Bearer {bearer}"} if bearer else {}
        response = await client.get("/", headers=headers)
        return response.status, (await response.json()).get("reason", "")

    return ask


VERIFIED = {"email": "ana@example.org", "email_verified": True}


@pytest.mark.parametrize(
    ("token_level", "admin_level", "enterprise_level", "claims"),
    [
        pytest.param((200, ""), (403, "needs-admin"), (403, "needs-verified-email"), {}, id="anybody"),
        pytest.param((200, ""), (200, ""), (403, "needs-verified-email"), {"role": "admin"}, id="admin"),
        pytest.param((200, ""), (403, "needs-admin"), (200, ""), VERIFIED, id="verified"),
        pytest.param((200, ""), (403, "needs-admin"), (403, "needs-verified-email"), VERIFIED | {"email_verified": False}, id="not verified"),
        pytest.param((200, ""), (200, ""), (200, ""), VERIFIED | {"role": "admin"}, id="verified admin"),
        pytest.param((200, ""), (200, ""), (403, "needs-verified-email"), {"sub": "user-root"}, id="admin by the list"),
        pytest.param((401, "expired"), (401, "expired"), (401, "expired"), VERIFIED | {"role": "admin", "exp": 1}, id="expired"),
    ],
)  # fmt: skip
async def test_a_route_asks_for_its_level(
    token_level: tuple[int, str],
    admin_level: tuple[int, str],
    enterprise_level: tuple[int, str],
    claims: dict[str, Any],
    ask: Callable[..., Awaitable[tuple[int, str]]],
) -> None:
    """A token opens routes of its level and no others; 403 says what would be needed."""
    expected = {Level.TOKEN: token_level, Level.ADMIN: admin_level, Level.ENTERPRISE: enterprise_level}
    given = {
        level: await ask(level, token(**claims), Revoked(), admin_ids=["user-root"]) for level in expected
    }
    assert expected == given


@pytest.mark.parametrize("level", Level)
async def test_nobody_gets_in_without_a_token(
    level: Level, ask: Callable[..., Awaitable[tuple[int, str]]]
) -> None:
    """401, before any account is looked at."""
    revoked = Revoked()
    assert await ask(level, None, revoked) == (401, "no-token")
    assert revoked.asked == []


@pytest.mark.parametrize(
    ("status", "level"),
    [
        pytest.param((200, ""), Level.TOKEN, id="token"),
        pytest.param((401, "revoked"), Level.ADMIN, id="admin"),
        pytest.param((401, "revoked"), Level.ENTERPRISE, id="enterprise"),
    ],
)
async def test_a_revoked_token_opens_nothing_that_is_not_the_callers_own(
    status: tuple[int, str], level: Level, ask: Callable[..., Awaitable[tuple[int, str]]]
) -> None:
    """The account is asked about with the time of the token's sign-in; on the lowest level it is not."""
    revoked = Revoked(answer=True)
    assert status == await ask(level, token(role="admin", **VERIFIED), revoked)
    assert revoked.asked == ([] if level is Level.TOKEN else [("user-ana", SIGNED_IN)])


async def test_an_account_that_cannot_be_checked_is_not_let_in(
    ask: Callable[..., Awaitable[tuple[int, str]]],
) -> None:
    """503: nobody is an admin on trust."""
    down = Revoked(answer=StoreUnavailableError("documents: no connection"))
    assert await ask(Level.ADMIN, token(role="admin"), down) == (503, "accounts-unavailable")


def test_a_route_tells_its_level() -> None:
    """Whoever lists the routes sees what each asks for; of a route without, nothing."""
    callers = Callers(reader(), Revoked())
    told = [level_of(callers.guarded(level, say)) for level in Level]
    assert told == list(Level)
    assert level_of(say) is None


AT = datetime.fromtimestamp(SIGNED_IN, UTC)


@pytest.mark.parametrize(
    ("revoked", "fields"),
    [
        pytest.param(False, None, id="no record"),
        pytest.param(False, {"display_name": "Ana"}, id="says nothing"),
        pytest.param(False, {"disabled": False, "tokens_valid_after": None}, id="not disabled"),
        pytest.param(True, {"disabled": True}, id="disabled"),
        pytest.param(True, {"disabled": "yes"}, id="disabled in words"),
        pytest.param(False, {"tokens_valid_after": AT}, id="signed in just then"),
        pytest.param(True, {"tokens_valid_after": AT.replace(microsecond=1)}, id="signed in just before"),
        pytest.param(True, {"tokens_valid_after": "2020-01-01"}, id="instant nobody can read"),
    ],
)
async def test_an_account_record_revokes_tokens(*, revoked: bool, fields: Fields | None) -> None:
    """A disabled account, or a sign-in before the instant; a record that cannot be read closes rather than opens."""
    documents = MemoryDocuments()
    if fields is not None:
        await documents.commit([Put(DocKey("users", "user-ana"), fields)])
    assert revoked == await UsersRevocations(documents).is_revoked("user-ana", SIGNED_IN)


def settings(folder: Path, fields: Mapping[str, Any]) -> Settings:
    """Return settings with these fields, past the environment's names."""
    return Settings(data_dir=folder).model_copy(update=dict(fields))


CLOUD = {"mode": Mode.CLOUD, "project": PROJECT}


@pytest.mark.parametrize(
    ("auth", "fields"),
    [
        pytest.param("local", {}, id="embedded"),
        pytest.param("local", {"mode": Mode.EMULATORS}, id="emulators"),
        pytest.param("firebase", CLOUD, id="cloud"),
        pytest.param("firebase", {"auth": "firebase", "project": PROJECT}, id="embedded, firebase"),
    ],
)
def test_each_mode_has_a_signer(auth: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """Only the cloud has Firebase's unasked."""
    assert auth == auth_of(settings(tmp_path, fields))


@pytest.mark.parametrize(
    ("said", "fields"),
    [
        pytest.param("EXPERT_BOT_AUTH='local' is not allowed", CLOUD | {"auth": "local"}, id="cloud, local"),
        pytest.param("EXPERT_BOT_AUTH='local'", {"k_service": "x"}, id="embedded on Cloud Run"),
        pytest.param("GOOGLE_CLOUD_PROJECT=''", {"auth": "firebase"}, id="firebase of no project"),
        pytest.param("EXPERT_BOT_FIREBASE_KEYS_URL='http://keys.example.org'", CLOUD | {"firebase_keys_url": "http://keys.example.org"}, id="keys over http"),
    ],
)  # fmt: skip
def test_what_cannot_be_trusted_does_not_start(said: str, fields: dict[str, Any], tmp_path: Path) -> None:
    """The error names the variable; no key has been made."""
    with pytest.raises(SettingError) as refused:
        make_token_reader(settings(tmp_path / "data", fields))
    assert str(refused.value).startswith(said)
    assert not (tmp_path / "data").exists()


async def test_only_the_data_folders_own_key_is_trusted(tmp_path: Path) -> None:
    """A token of another folder's key, or of Firebase's issuer under this key, is not."""
    trusting = make_token_reader(settings(tmp_path / "ours", {}))

    async def read(folder: str, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": LOCAL_ISSUER,
            "aud": "expert-bot-local",
            "sub": "user-ana",
            "auth_time": now,
            "iat": now,
            "exp": now + 9,
        }
        signed = local_signer(tmp_path / folder).sign(claims | changes)
        return (await trusting.read([f"Bearer {signed}"])).caller.user_id

    assert await read("ours") == "user-ana"
    with pytest.raises(NotAuthenticatedError, match="unknown-key"):
        await read("theirs")
    with pytest.raises(NotAuthenticatedError, match="wrong-issuer"):
        await read("ours", iss="https://securetoken.google.com/expert-bot-local")
    with pytest.raises(NotAuthenticatedError, match="wrong-audience"):
        await read("ours", aud=PROJECT)


def test_all_that_start_together_have_one_signing_key(tmp_path: Path) -> None:
    """Whoever makes the key first, everyone gets the same; nobody but the owner may read it."""
    folder = tmp_path / "data"
    with ThreadPoolExecutor(4) as starters:
        ids = {each.key_id for each in starters.map(local_signer, [folder] * 4)}
    [path] = folder.iterdir()
    assert (len(ids), path.name, stat.S_IMODE(path.stat().st_mode)) == (1, "token-signing.pem", 0o600)


@pytest.mark.parametrize("content", ["", "-----BEGIN PRIVATE KEY-----\n"], ids=["empty", "cut"])
def test_a_broken_signing_key_is_refused(content: str, tmp_path: Path) -> None:
    """The error names the file, which is left as it is."""
    (tmp_path / "token-signing.pem").write_text(content)
    with pytest.raises(UsageError, match=r"token-signing\.pem"):
        local_signer(tmp_path)
