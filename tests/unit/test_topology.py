"""Topics and subscriptions as the event families need them, with the policies that nothing is lost by."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from expert_bot.config import Settings
from expert_bot.schemas.families import all_families
from expert_bot.schemas.topology import NEEDED_DEDUP_DAYS, Subscription, replay_filter, topology

MANIFEST = Path(__file__).resolve().parents[2] / "infra" / "topics.json"
REQUEST_SUBSCRIPTIONS = [each for each in topology().subscriptions if each.name != "expert-bot-dead-letters"]
of_every_family = pytest.mark.parametrize(
    "subscription", [pytest.param(each, id=each.name) for each in REQUEST_SUBSCRIPTIONS]
)


def test_every_family_has_its_topics_and_subscription() -> None:
    """Requests, replies and one subscription per family, and the dead letters with their archive."""
    topics = [topic.name for topic in topology().topics]
    assert topics == [
        *(topic for family in all_families() for topic in (family.request_topic, family.reply_topic)),
        "expert-bot-dead-letters",
    ]
    assert {"chat-requests", "chat-replies"} <= set(topics)
    assert [each.topic for each in REQUEST_SUBSCRIPTIONS if each.name == "expert-bot-chat-requests"] == [
        "chat-requests"
    ]
    assert len(REQUEST_SUBSCRIPTIONS) == len(all_families())


@of_every_family
def test_a_request_subscription_is_ordered_and_backed_by_the_broker(subscription: Subscription) -> None:
    """Order by key; the broker's own dead-letter policy is a backstop behind our attempts, with room for retries."""
    assert subscription.ordered
    assert subscription.dead_letter_topic == "expert-bot-dead-letters"
    assert subscription.max_delivery_attempts >= 20
    assert (subscription.min_backoff_s, subscription.max_backoff_s) == (10, 600)
    assert (subscription.ack_deadline_s, subscription.push_ack_deadline_s) == (60, 600)


@of_every_family
def test_a_request_subscription_passes_only_its_own_replays(subscription: Subscription) -> None:
    """The filter is there from the first day, because a filter cannot be added to a subscription."""
    clause = f'NOT attributes:replayfor OR attributes.replayfor = "{subscription.name}"'
    assert clause == subscription.filter == replay_filter(subscription.name)


@of_every_family
def test_the_manifest_has_the_filter_and_the_backstop(subscription: Subscription) -> None:
    """Terraform reads the manifest: what is not there is not on the bus, and a filter cannot be added later."""
    manifest = {each["name"]: each for each in json.loads(MANIFEST.read_text("utf-8"))["subscriptions"]}
    listed = manifest[subscription.name]
    assert listed["filter"] == f'NOT attributes:replayfor OR attributes.replayfor = "{subscription.name}"'
    assert listed["dead_letter_topic"] == manifest["expert-bot-dead-letters"]["topic"]
    assert listed["max_delivery_attempts"] >= 20


def test_our_attempts_are_used_up_before_the_brokers() -> None:
    """At the largest setting there is, a failing event still dies with our reason, not with the broker's silence."""
    limits = Settings.model_json_schema()["properties"]["max_attempts"]
    assert all(limits["maximum"] < each.max_delivery_attempts for each in REQUEST_SUBSCRIPTIONS)


def test_dead_letters_are_archived_without_a_dead_letter_topic_of_their_own() -> None:
    """The archive takes every letter, in any order, keeps it longest, and never sends one round in circles."""
    (archive,) = [each for each in topology().subscriptions if each.topic == "expert-bot-dead-letters"]
    assert (archive.ordered, archive.filter, archive.dead_letter_topic) == (False, "", None)
    assert archive.retention_s == 31 * 24 * 3600 > max(each.retention_s for each in REQUEST_SUBSCRIPTIONS)


def test_finished_events_are_remembered_longer_than_a_copy_can_arrive() -> None:
    """Default memory covers both retentions, a week of replays, and a day: what start-up warns below."""
    week_s, day_s = 7 * 24 * 3600, 24 * 3600
    longest_s = max(each.retention_s for each in REQUEST_SUBSCRIPTIONS) + 31 * day_s + week_s + day_s
    assert longest_s == NEEDED_DEDUP_DAYS * day_s
    assert Settings.model_fields["dedup_retention_days"].default >= NEEDED_DEDUP_DAYS


def test_names_are_unique_and_fit_the_bus() -> None:
    """Pub/Sub takes names of 3..255 letters, digits and hyphens that start with a letter."""
    names = [each.name for each in (*topology().topics, *topology().subscriptions)]
    assert len(set(names)) == len(names) - 1, "only the dead letters' topic and archive share a name"
    assert all(
        3 <= len(name) <= 255 and name.replace("-", "").isalnum() and name[0].isalpha() for name in names
    )
