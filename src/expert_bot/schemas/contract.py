"""What other teams and Terraform read, generated from the registry: AsyncAPI, JSON Schemas, the topic manifest."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic.json_schema import models_json_schema

from expert_bot import __version__
from expert_bot.schemas.envelope import RFC3339_PATTERN
from expert_bot.schemas.families import EventFamily, EventType, all_families
from expert_bot.schemas.topology import topology

JSON_SCHEMA_DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"
ASYNCAPI_PATH: Final = "docs/asyncapi.yaml"
SCHEMAS_FOLDER: Final = "docs/schemas"
MANIFEST_PATH: Final = "infra/topics.json"

Json = dict[str, Any]


def event_schema(event_type: EventType) -> Json:
    """Return the JSON Schema 2020-12 of one event type's data."""
    return {
        "$schema": JSON_SCHEMA_DIALECT,
        "$id": f"urn:smarwatt:schema:{event_type.name}",
        **event_type.data.model_json_schema(),
        "examples": [dict(event_type.example)],
    }


def topic_manifest() -> Json:
    """Return the topics and subscriptions as plain data, durations in seconds."""
    return json.loads(json.dumps(asdict(topology())))  # type: ignore[no-any-return]  # a dataclass dumps to an object


def asyncapi_document() -> Json:
    """Return the AsyncAPI 3.0 document of every family: enough to integrate without any code of ours."""
    families = all_families()
    types = [event_type for family in families for event_type in (family.requested, *family.emitted)]
    _, definitions = models_json_schema(
        [(model, "validation") for model in dict.fromkeys(event_type.data for event_type in types)],
        ref_template="#/components/schemas/{model}",
    )
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Expert Bot",
            "version": __version__,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "pubsub": {
                "host": "pubsub.googleapis.com",
                "protocol": "googlepubsub",
                "description": "Google Cloud Pub/Sub; topics live in the project's own namespace.",
            }
        },
        "channels": {name: channel for family in families for name, channel in _channels(family).items()},
        "operations": {
            name: operation for family in families for name, operation in _operations(family).items()
        },
        "components": {
            "schemas": definitions["$defs"],
            "messages": {_message_name(event_type): _message(event_type) for event_type in types},
        },
    }


def generated_files() -> dict[str, str]:
    """Return every generated file: path below the repository's root -> text."""
    files = {
        ASYNCAPI_PATH: _GENERATED_NOTE + _as_yaml(asyncapi_document()),
        MANIFEST_PATH: _as_json(topic_manifest()),
    }
    for family in all_families():
        for event_type in (family.requested, *family.emitted):
            files[f"{SCHEMAS_FOLDER}/{event_type.name}.json"] = _as_json(event_schema(event_type))
    return files


def find_drift(root: Path) -> list[str]:
    """Return the generated files below `root` that are missing, outdated, or no longer generated."""
    expected = generated_files()
    drifted = [path for path, text in expected.items() if _read(root / path) != text]
    present = {f"{SCHEMAS_FOLDER}/{file.name}" for file in (root / SCHEMAS_FOLDER).glob("*.json")}
    return sorted([*drifted, *(present - set(expected))])


def _channels(family: EventFamily) -> Json:
    return {
        family.request_topic: {
            "address": family.request_topic,
            "title": f"{family.name} requests",
            "description": f"Publish requests here; `{family.subscription}` is this service's subscription.",
            "messages": _message_refs((family.requested,)),
        },
        family.reply_topic: {
            "address": family.reply_topic,
            "title": f"{family.name} replies",
            "description": "Subscribe here; match a reply to its request by `ce-correlationid`, dedupe by `ce-source` + `ce-id`.",
            "messages": _message_refs(family.emitted),
        },
    }


def _operations(family: EventFamily) -> Json:
    requests, replies = _channel_ref(family.request_topic), _channel_ref(family.reply_topic)
    return {
        f"receive-{family.name}-request": {
            "action": "receive",
            "channel": requests,
            "summary": family.requested.summary,
            "messages": [_message_in(family.request_topic, family.requested)],
            "reply": {
                "channel": replies,
                "messages": [_message_in(family.reply_topic, event_type) for event_type in family.emitted],
            },
        },
        f"send-{family.name}-reply": {
            "action": "send",
            "channel": replies,
            "summary": "Exactly one reply or failure per accepted request; a copy on the wire has the same id and bytes.",
            "messages": [_message_in(family.reply_topic, event_type) for event_type in family.emitted],
        },
    }


def _message(event_type: EventType) -> Json:
    return {
        "name": event_type.name,
        "title": _message_name(event_type),
        "summary": event_type.summary,
        "contentType": "application/json",
        "headers": _headers(event_type),
        "payload": {"$ref": f"#/components/schemas/{event_type.data.__name__}"},
        "correlationId": {
            "description": "Id of the request at the root; on a first request, its own id.",
            "location": "$message.header#/ce-correlationid",
        },
        "examples": [{"name": "example", "payload": dict(event_type.example)}],
    }


def _headers(event_type: EventType) -> Json:
    """Pub/Sub attributes of a CloudEvent in binary mode."""
    return {
        "type": "object",
        "required": ["ce-specversion", "ce-id", "ce-source", "ce-type"],
        "properties": {
            "ce-specversion": {"type": "string", "const": "1.0"},
            "ce-id": {
                "type": "string",
                "minLength": 1,
                "description": "Unique per ce-source; a resend keeps it.",
            },
            "ce-source": {"type": "string", "minLength": 1, "description": "URI reference of the sender."},
            "ce-type": {"type": "string", "const": event_type.name},
            "ce-time": {
                "type": "string",
                "pattern": RFC3339_PATTERN,
                "description": "When it happened, RFC 3339.",
            },
            "ce-correlationid": {
                "type": "string",
                "description": "Id of the request at the root of the exchange.",
            },
            "ce-causationid": {
                "type": "string",
                "description": "Id of the event that directly caused this one.",
            },
            "ce-traceparent": {"type": "string", "description": "W3C trace context."},
            "ce-partitionkey": {"type": "string", "description": "Equals the Pub/Sub ordering key."},
            "ce-expirytime": {
                "type": "string",
                "description": "RFC 3339; a request is not handled after it.",
            },
            "content-type": {"type": "string", "const": "application/json"},
        },
    }


def _message_refs(types: tuple[EventType, ...]) -> Json:
    return {
        _message_name(event_type): {"$ref": f"#/components/messages/{_message_name(event_type)}"}
        for event_type in types
    }


def _message_in(topic: str, event_type: EventType) -> Json:
    return {"$ref": f"#/channels/{topic}/messages/{_message_name(event_type)}"}


def _channel_ref(topic: str) -> Json:
    return {"$ref": f"#/channels/{topic}"}


def _message_name(event_type: EventType) -> str:
    """`com.smarwatt.chat.requested.v1` -> `chat.requested.v1`."""
    return event_type.name.split(".", 2)[2]


def _as_json(value: Json) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


class _PlainDumper(yaml.SafeDumper):
    """YAML for people: no aliases, long texts as blocks."""

    def ignore_aliases(self, data: object) -> bool:  # noqa: ARG002  # the signature is PyYAML's
        return True


def _as_yaml(value: Json) -> str:
    _PlainDumper.add_representer(str, _represent_text)
    return yaml.dump(value, Dumper=_PlainDumper, sort_keys=False, allow_unicode=True, width=110)


def _represent_text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


def _read(path: Path) -> str | None:
    return path.read_text("utf-8") if path.is_file() else None


_GENERATED_NOTE: Final = "# Generated by `expert-bot contract write`; do not edit.\n"
_DESCRIPTION: Final = """\
CloudEvents 1.0 on Google Cloud Pub/Sub, in binary mode: context attributes as `ce-*` message attributes, the data as the
message's bytes (UTF-8 JSON). Structured mode (`content-type: application/cloudevents+json`) is accepted too.
Set the Pub/Sub ordering key (and `ce-partitionkey`) to the conversation_id, or else the user_id.
Every accepted request is answered on the reply topic by exactly one reply or one `*.failed` event; its id depends only on
the request, so copies can be told by `ce-source` + `ce-id`. Find your reply by `ce-correlationid` = your request's `ce-id`
(or its own correlation id). What cannot be handled is also kept on `expert-bot-dead-letters`, with the reason.
"""
