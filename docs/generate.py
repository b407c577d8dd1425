"""Tables of the documents, generated from the code: `.venv/bin/python docs/generate.py [--check]`.

In README.md and docs/reference/*.md, writes what stands between `<!-- generated: NAME -->` and `<!-- end -->`; the prose
around it is written by hand. With `--check` nothing is written; exit code 1 if a file is not what would be written.
"""  # noqa: INP001  # a script beside the pages it fills

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from expert_bot.config import Mode, Settings, variable_name
from expert_bot.schemas.dead_letter import REASONS
from expert_bot.schemas.families import EventFamily, EventType, all_families
from expert_bot.schemas.topology import Subscription, topology

ROOT: Final = Path(__file__).resolve().parents[1]
_BLOCK: Final = re.compile(r"(<!-- generated: (?P<name>[a-z-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_SUBSCRIPTION_COLUMNS: Final = (
    "subscription",
    "topic",
    "ordered",
    "ack deadline pull / push (s)",
    "backoff (s)",
    "kept (days)",
    "broker's backstop",
)


def blocks() -> dict[str, str]:
    """Return the text of every block by its name."""
    settings = list(_settings())
    return {
        "settings-summary": _table(
            ("variable", "default", "meaning"),
            [(name, default, text) for name, default, _, text in settings],
        ),
        "settings": _table(("variable", "default", "allowed", "meaning"), settings),
        "reasons": _table(("reason", "meaning", "status", "retriable"), _reasons()),
        "events": _table(("type", "topic", "ordering key", "says"), _events()),
        "limits": _table(
            ("family", "subscription", "largest data (bytes)", "handler timeout (s)"), _limits()
        ),
        "members": "\n".join(_members()),
        "topics": _table(
            ("topic", "carries"), [(_code(topic.name), topic.purpose) for topic in topology().topics]
        ),
        "subscriptions": _table(
            _SUBSCRIPTION_COLUMNS, [_subscription(each) for each in topology().subscriptions]
        ),
    }


def filled_files(root: Path = ROOT) -> dict[Path, str]:
    """Return the text that each file with blocks should have. Raises KeyError for a block that does not exist."""
    texts = blocks()
    files = [root / "README.md", *sorted((root / "docs/reference").glob("*.md"))]
    return {
        path: _BLOCK.sub(
            lambda match: f"{match[1]}\n{texts[match['name']]}\n{match[3]}", path.read_text("utf-8")
        )
        for path in files
    }


def find_drift(root: Path = ROOT) -> list[str]:
    """Return the files whose blocks are not what the code says, by their paths below the root."""
    return [
        path.relative_to(root).as_posix()
        for path, text in filled_files(root).items()
        if path.read_text("utf-8") != text
    ]


def _settings() -> Iterator[tuple[str, str, str, str]]:
    """Yield variable, default, allowed values and meaning of every setting, in the order of the class."""
    members = Settings.model_json_schema(by_alias=True)["properties"]
    for field, about in Settings.model_fields.items():
        alias = about.validation_alias
        allowed = _allowed_values(members[alias if isinstance(alias, str) else field])
        yield _code(variable_name(field)), _default(about.default), allowed, about.description or ""


def _default(value: object) -> str:
    if value is None or value in ((), {}):
        return "-"
    if isinstance(value, bool):
        return _code(str(value).lower())
    if isinstance(value, tuple):
        return _code(", ".join(value))
    return _code(f"{value:g}" if isinstance(value, float) else str(value))


def _allowed_values(member: Mapping[str, Any]) -> str:
    known = next((each for each in member.get("anyOf", ()) if each.get("type") != "null"), member)
    match known:
        case {"$ref": _}:
            text = ", ".join(_code(mode.value) for mode in Mode)
        case {"enum": values}:
            text = ", ".join(_code(value) for value in values)
        case {"type": "boolean"}:
            text = "`true`, `false`"
        case {"type": "integer", "minimum": low, "maximum": high}:
            text = f"whole number {low}..{high}"
        case {"type": "number", "minimum": low, "maximum": high}:
            text = f"number {low:g}..{high:g}"
        case {"pattern": pattern}:
            text = f"matches {_code(pattern)}"
        case {"maxLength": longest}:
            text = f"text of {known.get('minLength', 0)}..{longest} characters"
        case _:
            text = {"path": "path", "array": "texts"}.get(known.get("format", known["type"]), "text")
    return text


def _reasons() -> Iterator[tuple[str, str, str, str]]:
    for code, reason in REASONS.items():
        yield _code(code), reason.title, str(reason.status), "yes" if reason.retriable else "no"


def _events() -> Iterator[tuple[str, str, str, str]]:
    for family in all_families():
        request = family.requested
        yield _code(request.name), _code(family.request_topic), _ordering(family), request.summary
        for event in family.emitted:
            yield _code(event.name), _code(family.reply_topic), "the request's", event.summary


def _limits() -> Iterator[tuple[str, str, str, str]]:
    for family in all_families():
        timeout = f"{family.handler_timeout_s:g}"
        yield family.name, _code(family.subscription), str(family.max_data_bytes), timeout


def _ordering(family: EventFamily) -> str:
    """Say which members a request is ordered by, found by leaving out one after the other of its example."""
    example, used = dict(family.requested.example), []
    while True:
        key = family.ordering_key(family.requested.data.model_validate(example))
        name = next((name for name, value in example.items() if value == key), None)
        if name is None:
            raise ValueError(f"{family.name}: the ordering key must be a member of the example")
        used.append(_code(name))
        if family.requested.data.model_fields[name].is_required():
            return ", else ".join(used)
        del example[name]


def _members() -> Iterator[str]:
    """Yield a section for each type of event, and after them for each type of member that they use."""
    nested: dict[str, Mapping[str, Any]] = {}
    for event in _all_types():
        schema = event.data.model_json_schema()
        nested |= schema.get("$defs", {})
        yield f"### {event.name}\n\n{event.summary}\n\n{_members_of(schema)}"
    for name, schema in nested.items():
        if "properties" not in schema:
            continue  # JsonValue: whatever JSON can be
        yield f"### {name}\n\n{schema['description']}\n\n{_members_of(schema)}"


def _all_types() -> list[EventType]:
    return [event for family in all_families() for event in (family.requested, *family.emitted)]


def _members_of(schema: Mapping[str, Any]) -> str:
    required = schema.get("required", ())
    rows = [
        (_code(name), _type_of(member), "yes" if name in required else "no", _meaning(member))
        for name, member in schema["properties"].items()
    ]
    return _table(("member", "type", "required", "meaning"), rows)


def _type_of(member: Mapping[str, Any]) -> str:
    match member:
        case {"anyOf": choices}:
            return " or ".join(dict.fromkeys(_type_of(choice) for choice in choices))
        case {"$ref": "#/$defs/JsonValue"}:
            return "any JSON"
        case {"$ref": target}:
            name = str(target).rpartition("/")[2]
            return f"[{name}](#{name.lower()})"
        case {"enum": values}:
            return ", ".join(_code(value) for value in values)
        case {"type": "array", "items": item}:
            return f"array of {_type_of(item)}"
        case _:
            return str(member["type"])


def _meaning(member: Mapping[str, Any]) -> str:
    inner = (member, *member.get("anyOf", ()))
    return next((each["description"] for each in inner if "description" in each), "")


def _subscription(each: Subscription) -> Sequence[str]:
    backstop = f"{each.max_delivery_attempts} attempts, then {_code(each.dead_letter_topic or '')}"
    return (
        _code(each.name),
        _code(each.topic),
        "yes" if each.ordered else "no",
        f"{each.ack_deadline_s} / {each.push_ack_deadline_s}",
        f"{each.min_backoff_s}..{each.max_backoff_s}",
        f"{each.retention_s // 86400}",
        backstop if each.dead_letter_topic else "-",
    )


def _table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = (columns, ["---"] * len(columns), *rows)
    return "".join(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines)


def _code(text: str) -> str:
    return f"`{text}`"


def main(arguments: Sequence[str]) -> int:
    """Write the files, or check them; return the exit code."""
    drifted = find_drift()
    if "--check" in arguments:
        if drifted:
            sys.stderr.write(f"error: out of date: {', '.join(drifted)}; run docs/generate.py\n")
        return int(bool(drifted))
    for path, text in filled_files().items():
        path.write_text(text, "utf-8")
    sys.stdout.write(f"written: {', '.join(drifted) or 'nothing had changed'}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
