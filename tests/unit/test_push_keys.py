"""The key cache: one fetch for many, renewed in time, stale for a while, then closed; and what a key set is."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import pytest
from aiohttp import web

from expert_bot.http.oidc_keys import (
    MAX_AGE_S,
    MAX_RESPONSE_BYTES,
    MIN_AGE_S,
    PAUSE_S,
    STALE_S,
    BadKeySetError,
    KeyCache,
    KeySet,
    KeysUnavailableError,
    fetch_key_set,
    parse_jwk_set,
)
from tests.token_mint import KeyServer, Signer, encoded, signer
from tests.waiting import until

ONE, TWO = signer("one"), signer("two")
AGE_S = 1000.0


class World:
    """A clock, and a key server behind a fetch that takes as long as the test wants."""

    def __init__(self) -> None:
        self.now = 50.0
        self.signers: list[Signer] = [ONE]
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.fetches = 0
        self.cache = KeyCache("https://keys.example.org", fetch=self.fetch, now=lambda: self.now)

    async def fetch(self, _url: str) -> KeySet:
        """Return the signers' keys, or fail."""
        self.fetches += 1
        await self.may_answer.wait()
        if self.error is not None:
            raise self.error
        return KeySet(keys={each.key_id: each.key.public_key() for each in self.signers}, age_s=AGE_S)

    async def finds(self, key_id: str) -> bool:
        """Tell whether the cache has the key."""
        return await self.cache.find(key_id) is not None


async def test_hundreds_of_requests_cause_one_fetch() -> None:
    """Whoever comes while the keys are being fetched waits for the same answer."""
    world = World()
    world.may_answer.clear()
    finding = [asyncio.create_task(world.finds("one")) for _ in range(500)]
    await until(lambda: world.fetches)
    world.may_answer.set()
    assert all(await asyncio.gather(*finding))
    assert world.fetches == 1


async def test_a_caller_that_goes_away_does_not_end_the_fetch() -> None:
    """The fetch is everybody's: cancelling the request that began it changes nothing for the others."""
    world = World()
    world.may_answer.clear()
    first, second = (asyncio.create_task(world.finds("one")) for _ in range(2))
    await until(lambda: world.fetches)
    first.cancel()
    world.may_answer.set()
    assert await second
    assert world.fetches == 1


async def test_keys_are_kept_for_their_age() -> None:
    """Before it is time to renew them nothing is fetched."""
    world = World()
    assert await world.finds("one")
    world.now += AGE_S * 0.79
    assert await world.finds("one")
    assert world.fetches == 1


async def test_keys_are_renewed_in_the_background_before_they_expire() -> None:
    """A request that comes in the last fifth of their age is answered at once and starts the renewal."""
    world = World()
    assert await world.finds("one")
    world.now += AGE_S * 0.81
    world.may_answer.clear()
    world.signers = [TWO]
    assert await world.finds("one")
    await until(lambda: world.fetches == 2)
    world.may_answer.set()
    assert await world.finds("two"), "waits for the renewal that runs"
    assert not await world.finds("one"), "a key that the signer has withdrawn is not used any more"
    assert world.fetches == 2


async def test_an_unknown_key_is_asked_for_at_most_every_30_s() -> None:
    """Anybody can make up key ids; new keys are found all the same."""
    world = World()
    assert await world.finds("one")
    world.signers = [ONE, TWO]
    world.now += PAUSE_S - 1
    assert [await world.finds(f"made-up-{number}") for number in range(100)] == [False] * 100
    assert world.fetches == 1
    world.now += 1
    assert await world.finds("two")
    assert [await world.finds(f"made-up-{number}") for number in range(100)] == [False] * 100
    assert world.fetches == 2


async def test_while_the_server_is_down_keys_are_used_for_an_hour_longer_and_then_not() -> None:
    """Nobody notices a short outage; a long one closes the door."""
    world = World()
    assert await world.finds("one")
    world.error = TimeoutError()
    world.now += AGE_S + STALE_S - 1
    assert await world.finds("one")
    await until(lambda: world.fetches == 2)
    for _ in range(3):  # each round lets begun fetches run
        assert all(await asyncio.gather(*(world.finds("one") for _ in range(10))))
    assert world.fetches == 2, "nor is a server that is down asked for each request"
    world.now += 1
    with pytest.raises(KeysUnavailableError):
        await world.finds("one")


async def test_an_unknown_key_is_not_judged_while_the_server_is_down() -> None:
    """It may be a new one: the delivery is to come again, rather than to be refused; and nobody asks more often for it."""
    world = World()
    assert await world.finds("one")
    world.error = TimeoutError()
    world.now += PAUSE_S
    for _ in range(3):
        with pytest.raises(KeysUnavailableError):
            await world.finds("two")
    assert world.fetches == 2
    assert await world.finds("one")


async def test_without_any_keys_the_attempts_follow_each_other_in_growing_pauses() -> None:
    """While the server is down callers are told at once when to come again, and it is found soon when it is back."""
    world = World()
    world.error = TimeoutError()
    pauses = []
    for _ in range(7):
        with pytest.raises(KeysUnavailableError) as down:
            await world.finds("one")
        fetches = world.fetches
        with pytest.raises(KeysUnavailableError) as still_down:
            await world.finds("one")
        assert (fetches, down.value.retry_after_s) == (world.fetches, still_down.value.retry_after_s)
        pauses.append(down.value.retry_after_s)
        world.now += pauses[-1]
    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    world.error = None
    assert await world.finds("one")


@pytest.mark.parametrize(
    ("age_s", "cache_control"),
    [
        pytest.param(3600, "public, max-age=3600, must-revalidate", id="as Google says it"),
        pytest.param(3600, "MAX-AGE=3600", id="capitals"),
        pytest.param(MIN_AGE_S, "max-age=5", id="at least a minute"),
        pytest.param(MAX_AGE_S, "max-age=99999999999999999999", id="at most a day"),
        pytest.param(MIN_AGE_S, "no-store", id="no age"),
        pytest.param(MIN_AGE_S, "s-maxage=3600", id="another cache's age"),
        pytest.param(MIN_AGE_S, "max-age=-3600", id="negative"),
        pytest.param(MIN_AGE_S, "max-age=ten", id="not a number"),
    ],
)
async def test_the_age_is_the_responses_within_bounds(age_s: float, cache_control: str) -> None:
    """`max-age`, but from a minute to a day."""
    async with KeyServer(ONE, cache_control=cache_control).running() as server:
        fetched = await fetch_key_set(server.url)
    assert (fetched.age_s, set(fetched.keys)) == (age_s, {"one"})


@pytest.mark.parametrize(("age_s", "age"), [(2600, "1000"), (3600, "soon"), (MIN_AGE_S, "9" * 5000)])
async def test_what_a_proxy_has_kept_is_older(age_s: float, age: str) -> None:
    """`Age` is what has passed already."""
    async with KeyServer(ONE).running() as server:
        body = json.dumps({"keys": [ONE.jwk()]})
        headers = {"Cache-Control": "max-age=3600", "Age": age}
        server.answer = lambda: web.Response(text=body, headers=headers)
        assert (await fetch_key_set(server.url)).age_s == age_s


@pytest.mark.parametrize(
    ("said", "status", "body"),
    [
        pytest.param("status 500", 500, json.dumps({"keys": [ONE.jwk()]}).encode(), id="error"),
        pytest.param("status 302", 302, json.dumps({"keys": [ONE.jwk()]}).encode(), id="redirect"),
        pytest.param("bytes", 200, b" " * (MAX_RESPONSE_BYTES + 1), id="too much"),
        pytest.param("Expecting value", 200, b"<html>", id="HTML"),
        pytest.param("UTF-8", 200, b"\xff", id="bytes"),
        pytest.param("no `keys`", 200, b"[]", id="list"),
        pytest.param("no `keys`", 200, b'{"keys": {}}', id="keys an object"),
        pytest.param("no RSA", 200, b'{"keys": []}', id="no keys"),
        pytest.param("no `keys`", 200, b'{"one": "-----BEGIN CERTIFICATE-----"}', id="certificates"),
    ],
)
async def test_what_is_not_a_key_set_is_an_error(said: str, status: int, body: bytes) -> None:
    """Nothing but a bounded JWK set from the address itself is taken."""
    async with KeyServer(ONE).running() as server:
        server.answer = lambda: web.Response(status=status, body=body, headers={"Location": "/certs?2"})
        with pytest.raises(BadKeySetError, match=said):
            await fetch_key_set(server.url)
        assert server.asked == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"kty": "EC"}, id="another kind"),
        pytest.param({"kty": None}, id="no kind"),
        pytest.param({"use": "enc"}, id="for encryption"),
        pytest.param({"alg": "RS512"}, id="another algorithm"),
        pytest.param({"kid": None}, id="no id"),
        pytest.param({"kid": 1}, id="id a number"),
        pytest.param({"n": None}, id="no modulus"),
        pytest.param({"e": None}, id="no exponent"),
        pytest.param({"n": 3}, id="modulus a number"),
        pytest.param({"n": "ñ"}, id="modulus not base64"),
        pytest.param({"n": "AAAA"}, id="modulus 0"),
        pytest.param({"e": "AQ"}, id="exponent 1"),
        pytest.param({"e": "BA"}, id="exponent even"),
        pytest.param({"n": signer("weak", bits=1024).jwk()["n"]}, id="1,024 bits"),
        pytest.param({"n": encoded(b"\xff" * 40_000)}, id="320,000 bits"),
    ],
)
def test_keys_for_other_purposes_and_weak_ones_are_left_out(changes: dict[str, Any]) -> None:
    """They do not spoil the others; alone they are no key set."""
    with pytest.raises(BadKeySetError):
        parse_jwk_set(json.dumps({"keys": [ONE.jwk(**changes)]}).encode())
    mixed = json.dumps({"keys": [ONE.jwk(**changes), "text", TWO.jwk(alg=None, use=None)]}).encode()
    assert set(parse_jwk_set(mixed)) == {"two"}


@pytest.fixture
async def silent() -> AsyncIterator[str]:
    """Return the address of a server that accepts and never answers."""
    async with KeyServer(ONE).running() as server:
        server.may_answer.clear()
        yield server.url


async def test_a_server_that_never_answers_is_given_up(silent: str) -> None:
    """A fetch ends after its time; the keys are then unavailable, not the request forever open."""
    with pytest.raises(KeysUnavailableError):
        await KeyCache(silent, fetch=partial(fetch_key_set, timeout_s=0.05)).find("one")
