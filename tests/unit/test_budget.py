"""The flow-control budget: what may run, what may be pulled, whose turn it is, and who has too much."""

from __future__ import annotations

import pytest

from expert_bot.consumers.budget import Budget


class Holding:
    def __init__(self, tenant: str, *, size: int = 1, attempt: int | None = None) -> None:
        self.size = size
        self.attempt = attempt
        self.is_gone = False
        self.started = False
        self.asked = 0
        self._tenant = tenant

    def tenant(self) -> str:
        self.asked += 1
        return self._tenant

    def start(self) -> None:
        self.started = True


class World:
    """A budget and one consumer's messages."""

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.held: dict[Holding, None] = {}
        budget.join(self.held)

    def arrive(self, tenant: str, count: int = 1, *, attempt: int | None = None) -> list[Holding]:
        """Take messages and ask for slots."""
        arrived = [Holding(tenant, attempt=attempt) for _ in range(count)]
        for holding in arrived:
            self.held[holding] = None
            self.budget.take(holding)
            self.budget.run(holding)
        return arrived

    def surplus(self, tenant: str, *, attempt: int | None = None) -> float | None:
        """Take one message more and tell for how long it should be handed back, which is then done."""
        holding = Holding(tenant, attempt=attempt)
        self.held[holding] = None
        self.budget.take(holding)
        delay_s = self.budget.surplus_delay_s(holding)
        if delay_s is not None:
            self.leave(holding)
        return delay_s

    def leave(self, holding: Holding) -> None:
        """Settle a message."""
        holding.is_gone = True
        del self.held[holding]
        self.budget.give(holding)


def slow(messages: int, *, service_s: float = 5.0) -> World:
    """Return a world whose work is known to take long."""
    world = World(Budget(messages, slow_s=0.25))
    for _ in range(500):
        [holding] = world.arrive("past")
        world.leave(holding)
        world.budget.done(service_s)
    return world


def has_room(budget: Budget) -> bool:
    """Tell whether more may be pulled."""
    return budget._room.is_set()


def test_no_more_run_than_there_are_slots_and_each_end_starts_one() -> None:
    """Over every consumer that shares the budget."""
    one, other = World(budget := Budget(3)), World(budget)
    arrived = [*one.arrive("a", 2), *other.arrive("a", 3)]
    assert [holding.started for holding in arrived] == [True, True, True, False, False]
    budget.done(0.1)
    assert [holding.started for holding in arrived] == [True, True, True, True, False]
    assert budget.running == 3


def test_slots_go_round_robin_over_tenants_and_in_order_within() -> None:
    """A tenant with many waiting messages delays another by one turn, not by all of them."""
    world = World(Budget(1))
    world.arrive("big")
    big, small, tiny = world.arrive("big", 3), world.arrive("small", 2), world.arrive("tiny")
    order = [*big, *small, *tiny]
    turns: list[int] = []
    for _ in order:
        before = [holding.started for holding in order]
        world.budget.done(0.0)
        turns += [n for n, holding in enumerate(order) if holding.started and not before[n]]
    assert turns == [0, 3, 5, 1, 4, 2]


def test_what_is_gone_gets_no_slot() -> None:
    """A message handed back while it waited for its turn does not run."""
    world = World(Budget(1))
    world.arrive("a")
    [gone] = world.arrive("a")
    [next_] = world.arrive("b")
    world.leave(gone)
    world.budget.withdraw()
    world.budget.done(0.0)
    assert (gone.started, next_.started) == (False, True)


def test_pulling_stops_at_the_budget_and_starts_again_with_some_room() -> None:
    """Not for each message that ends: a pull per message would be dear."""
    world = World(budget := Budget(20))
    arrived = world.arrive("a", 20)
    assert not has_room(budget)
    world.leave(arrived[0])
    assert not has_room(budget)
    world.leave(arrived[1])
    assert has_room(budget)
    assert budget.ask() == 2


def test_bytes_are_counted_too() -> None:
    """One message larger than the whole budget stops the pulling until it is settled."""
    budget = Budget(10, 100)
    large = Holding("a", size=101)
    budget.take(large)
    assert not has_room(budget)
    budget.give(large)
    assert has_room(budget)


def test_while_there_is_enough_nobody_is_asked_for_a_tenant() -> None:
    """The fast path pays nothing for fairness."""
    world = slow(10)
    arrived = world.arrive("a", 9)
    assert [holding.asked for holding in arrived] == [0] * 9


def test_the_surplus_of_a_tenant_with_more_than_half_goes_back() -> None:
    """Others' messages stay, also beyond the budget, and pulls ask for more than there is room: they look behind the big one."""
    world = slow(10)
    big = world.arrive("big", 10)
    assert world.surplus("big") == 1.0
    assert world.surplus("small") is None
    assert world.budget.held == 11
    for holding in big:
        world.leave(holding)
        assert world.budget.ask() == 100


def test_the_surplus_comes_back_about_when_its_turn_is() -> None:
    """Ten slots of five seconds do two a second, so the hundredth is away for not quite 50 s: slots do not fall idle."""
    world = slow(10)
    world.arrive("big", 10)
    delays = [world.surplus("big") for _ in range(101)]
    assert delays[:3] == [1.0, 1.0, 1.0]
    assert delays[100] == pytest.approx(0.8 * 50, rel=0.01)


def test_a_message_is_not_handed_back_more_than_ten_times() -> None:
    """Each return is one of the broker's 20 attempts: the rest is for crashes."""
    world = slow(10)
    world.arrive("big", 10)
    assert (world.surplus("big", attempt=10), world.surplus("big", attempt=11)) == (1.0, None)


def test_a_tenant_with_half_or_less_keeps_everything() -> None:
    """Many tenants share the budget: nothing is handed back, however much is held."""
    world = slow(10)
    for tenant in "abcde":
        world.arrive(tenant, 2)
    assert world.surplus("a") is None


def test_quick_work_is_never_handed_back() -> None:
    """When slots turn over fast, waiting is shorter than the shortest return."""
    world = slow(10, service_s=0.2)
    world.arrive("big", 10)
    assert world.surplus("big") is None
    assert world.budget.ask() == 1


def test_no_more_than_a_thousand_are_away_at_a_time() -> None:
    """A large backlog is not churned through: what is beyond stays at the broker, undelivered."""
    world = slow(10)
    big = world.arrive("big", 10)
    delays = [world.surplus("big") for _ in range(1001)]
    assert (delays.count(None), delays[-1]) == (1, None)
    world.leave(big[0])
    assert world.budget.ask() == 1


def test_a_consumer_that_ended_is_not_counted() -> None:
    """Its tenants no longer have a share."""
    world, ended = slow(4), World(Budget(1))
    world.budget.join(ended.held)
    ended.held.update(dict.fromkeys([Holding("big"), Holding("big"), Holding("big")]))
    world.budget.leave(ended.held)
    world.arrive("big", 1)
    world.arrive("other", 3)
    assert world.surplus("big") is None
