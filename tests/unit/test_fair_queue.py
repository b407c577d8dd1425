"""Tenants found in raw messages, and ordering keys that wait for what was handed back."""

from __future__ import annotations

import json
import random

import pytest

from expert_bot.consumers.barriers import Barriers
from expert_bot.consumers.fairness import FairQueue, tenant_of


@pytest.mark.parametrize(
    ("tenant", "data", "key"),
    [
        pytest.param("user-ana", b'{"user_id": "user-ana", "message": "hola"}', "k", id="user"),
        pytest.param("user-ana", b'{"message":"hola","user_id" :\n"user-ana"}', "k", id="anywhere"),
        pytest.param("ñandú", '{"user_id":"ñandú"}'.encode(), "k", id="not-ascii"),
        pytest.param("k", b'{"message": "hola"}', "k", id="ordering-key"),
        pytest.param("k", b'{"user_id": 7}', "k", id="not-a-text"),
        pytest.param("k", b'{"m": "%s", "user_id": "late"}' % (b"x" * 5000), "k", id="far-behind"),
        pytest.param("", b"\xff\x00", "", id="nothing"),
    ],
)
def test_a_tenant_is_found_at_a_glance(tenant: str, data: bytes, key: str) -> None:
    """The user near the start of the data, else the ordering key."""
    assert tenant_of(data, key) == tenant


def test_a_user_id_inside_a_text_is_not_taken_for_the_user() -> None:
    """Quotes in a JSON text are escaped, so nobody takes another's turns by writing about it."""
    data = json.dumps({"message": 'my "user_id": "user-eva"', "user_id": "user-ana"}).encode()
    assert tenant_of(data, "k") == "user-ana"


def test_a_queue_serves_each_tenant_in_its_own_order_and_none_twice_before_another_once() -> None:
    """Whatever comes and goes: between two turns of a tenant every other one that waits has one."""
    seeded = random.Random(7)
    queue: FairQueue[tuple[str, int]] = FairQueue()
    waiting: dict[str, list[int]] = {}
    passed_over: dict[str, set[str]] = {}
    for number in range(2000):
        tenant = seeded.choice("abcde")
        if seeded.random() < 0.55:
            queue.push(tenant, (tenant, number))
            waiting.setdefault(tenant, []).append(number)
        elif queue:
            tenant, got = queue.pop()
            assert got == waiting[tenant].pop(0)
            passed_over.pop(tenant, None)
            for other, items in waiting.items():
                if items and other != tenant:
                    seen = passed_over.setdefault(other, set())
                    assert tenant not in seen
                    seen.add(tenant)
    queue.remove(lambda item: item[0] != "a")
    left = [queue.pop() for _ in waiting["a"]]
    assert left == [("a", number) for number in waiting["a"]]
    assert not queue


def barrier(*message_ids: str, after_s: float = 5.0) -> Barriers:
    """Return a barrier on the key "k" from time 100 on."""
    barriers = Barriers(ack_deadline_s=60)
    barriers.put("k", message_ids, after_s, 100.0)
    return barriers


def test_nothing_overtakes_what_was_handed_back() -> None:
    """Others of the key are refused until it is due and a little longer; other keys are not concerned."""
    barriers = barrier("1")
    assert barriers.refuse("k", "2", 101.0) == 5.0
    assert barriers.refuse("other", "2", 101.0) is None
    assert barriers.refuse("k", "1", 105.0) is None
    assert barriers.refuse("k", "2", 106.0) is None
    assert not barriers


def test_several_handed_back_are_taken_in_their_order_only() -> None:
    """Also those that came and were refused meanwhile; a broker that mixes them up has to bring them again."""
    barriers = barrier("1", "2")
    refused = [
        message_id for message_id in ("3", "2", "1", "3", "2", "3") if barriers.refuse("k", message_id, 105.0)
    ]
    assert refused == ["3", "2", "3"]
    assert not barriers


def test_what_is_handed_back_again_stays_first() -> None:
    """A message that came back and went again is awaited before its successors."""
    barriers = barrier("1", "2")
    assert barriers.refuse("k", "1", 105.0) is None
    barriers.put("k", ["1"], 10.0, 105.0)
    assert barriers.refuse("k", "2", 106.0) == 10.0
    assert barriers.refuse("k", "1", 115.0) is None
    assert barriers.refuse("k", "2", 115.0) is None


@pytest.mark.parametrize("sweep", [False, True], ids=["asked", "swept"])
def test_a_barrier_ends_when_its_messages_have_gone_elsewhere(*, sweep: bool) -> None:
    """Another worker may have got them: after delay and ack deadline the key goes on, whatever was refused meanwhile."""
    barriers = barrier("1")
    assert barriers.refuse("k", "2", 164.9) == 10.0
    barriers.expire(164.9)
    assert barriers
    if sweep:
        barriers.expire(165.0)
        assert not barriers
    assert barriers.refuse("k", "2", 165.0) is None
    assert not barriers
