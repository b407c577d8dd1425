"""The published contract is what the code does: generated files, examples, schemas, and AsyncAPI's own rules."""

from __future__ import annotations

import copy
import fcntl
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator, Draft202012Validator

from expert_bot.schemas.contract import asyncapi_document, event_schema, find_drift, generated_files
from expert_bot.schemas.families import EventType, all_families

ROOT = Path(__file__).resolve().parents[2]
PINNED = Path(__file__).parent / "asyncapi"
CACHE = ROOT / ".cache" / "asyncapi"
TYPES = [each for family in all_families() for each in (family.requested, *family.emitted)]
of_every_type = pytest.mark.parametrize("event_type", [pytest.param(each, id=each.name) for each in TYPES])


def test_the_generated_files_are_up_to_date() -> None:
    """What other teams read is what the registry says; `expert-bot contract write` brings it up to date."""
    assert find_drift(ROOT) == []


@pytest.mark.parametrize(
    ("drifted", "change"),
    [
        pytest.param("docs/asyncapi.yaml", lambda root: (root / "docs/asyncapi.yaml").unlink(), id="missing"),
        pytest.param(
            "infra/topics.json", lambda root: (root / "infra/topics.json").write_text("{}"), id="outdated"
        ),
        pytest.param(
            "docs/schemas/gone.json", lambda root: (root / "docs/schemas/gone.json").touch(), id="left over"
        ),
    ],
)
def test_drift_is_found_by_name(drifted: str, change: Callable[[Path], object], tmp_path: Path) -> None:
    """A missing, an outdated and a left-over file are each told."""
    for path, text in generated_files().items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text, "utf-8")
    assert find_drift(tmp_path) == []
    change(tmp_path)
    assert [drifted] == find_drift(tmp_path)


@of_every_type
def test_an_example_is_valid_for_schema_and_model(event_type: EventType) -> None:
    """The schema is a correct JSON Schema 2020-12, and the example is what it and the code accept."""
    schema = event_schema(event_type)
    Draft202012Validator.check_schema(schema)
    assert list(Draft202012Validator(schema).iter_errors(dict(event_type.example))) == []
    read = event_type.data.model_validate(event_type.example)
    assert list(Draft202012Validator(schema).iter_errors(read.model_dump(mode="json"))) == []


@of_every_type
def test_a_schema_refuses_what_the_model_refuses(event_type: EventType) -> None:
    """Without any one required member the example is valid for neither."""
    schema = event_schema(event_type)
    for member in schema["required"]:
        broken = {name: value for name, value in event_type.example.items() if name != member}
        assert not Draft202012Validator(schema).is_valid(broken)
        with pytest.raises(ValueError, match=member):
            event_type.data.model_validate(broken)


@of_every_type
def test_every_member_is_explained(event_type: EventType) -> None:
    """A schema says of each member what it is for."""
    properties = event_schema(event_type)["properties"]
    assert [name for name, member in properties.items() if not _is_described(member)] == []


def test_the_asyncapi_document_is_valid(asyncapi_validator: Draft7Validator) -> None:
    """The published document is AsyncAPI 3.0.0 by its authors' own schema."""
    published = yaml.safe_load((ROOT / "docs/asyncapi.yaml").read_text("utf-8"))
    assert [error.message for error in asyncapi_validator.iter_errors(published)] == []


@pytest.mark.parametrize(
    "mutate",
    [
        pytest.param(lambda document: document.pop("info"), id="no info"),
        pytest.param(lambda document: document.update(asyncapi="2.6.0"), id="another version"),
        pytest.param(
            lambda document: document["operations"]["send-chat-reply"].update(action="publish"),
            id="unknown action",
        ),
        pytest.param(
            lambda document: document["channels"]["chat-requests"].update(messages=["chat.requested.v1"]),
            id="list",
        ),
    ],
)
def test_a_wrong_asyncapi_document_is_found(
    mutate: Callable[[dict[str, Any]], object], asyncapi_validator: Draft7Validator
) -> None:
    """The check can fail: mutated documents do."""
    document = copy.deepcopy(asyncapi_document())
    mutate(document)
    assert not asyncapi_validator.is_valid(document)


def test_every_reference_of_the_asyncapi_document_resolves() -> None:
    """No `$ref` of the document points to nothing."""
    document = asyncapi_document()
    references = list(_references(document))
    assert len(references) >= 10
    for reference in references:
        target: Any = document
        for part in reference.removeprefix("#/").split("/"):
            target = target[part]


def test_an_asyncapi_example_is_valid_for_its_payload() -> None:
    """Examples of the document are valid for the document's own schemas."""
    document = asyncapi_document()
    for message in document["components"]["messages"].values():
        schema = {**message["payload"], "components": document["components"]}
        for example in message["examples"]:
            assert list(Draft202012Validator(schema).iter_errors(example["payload"])) == []


def test_the_schema_package_is_pinned_without_an_address() -> None:
    """The lock pins by hash; where packages come from is the machine's own setting."""
    lock = json.loads((PINNED / "package-lock.json").read_text("utf-8"))
    pinned = [package for path, package in lock["packages"].items() if path]
    assert all(package["integrity"].startswith("sha512-") for package in pinned)
    assert [package for package in pinned if "resolved" in package] == []


@pytest.fixture(scope="session")
def asyncapi_validator() -> Draft7Validator:
    """Validate against AsyncAPI 3.0.0's official schema, installed once into the cache folder."""
    npm = shutil.which("npm")
    if npm is None:
        report = pytest.fail if os.environ.get("CI") == "true" else pytest.skip
        report("npm is not installed: it brings the official AsyncAPI schema (install Node.js 20 or newer)")
    schema = CACHE / "node_modules/@asyncapi/specs/schemas/3.0.0.json"
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # test runs may share the cache
        if not schema.is_file() or _is_outdated():
            _install(npm)
    return Draft7Validator(json.loads(schema.read_text("utf-8")))


def _is_outdated() -> bool:
    """Tell whether the cache was installed from another lock."""
    cached = CACHE / "package-lock.json"
    return not cached.is_file() or cached.read_bytes() != (PINNED / "package-lock.json").read_bytes()


def _install(npm: str) -> None:
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PINNED / name, CACHE)
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    ran = subprocess.run(command, cwd=CACHE, capture_output=True, check=False, text=True, timeout=300)
    if ran.returncode != 0:
        (CACHE / "package-lock.json").unlink()
        pytest.fail(f"npm ci failed: {ran.stderr[-2000:]}")


def _is_described(member: dict[str, Any]) -> bool:
    """Tell whether a member, or the model it refers to, has a description."""
    alternatives = (member, *member.get("anyOf", ()))
    return any("description" in each or "$ref" in each for each in alternatives)


def _references(node: object) -> list[str]:
    """Return every `$ref` below a node."""
    if isinstance(node, dict):
        own = [node["$ref"]] if isinstance(node.get("$ref"), str) else []
        return own + [found for value in node.values() for found in _references(value)]
    if isinstance(node, list):
        return [found for value in node for found in _references(value)]
    return []
