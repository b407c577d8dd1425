"""What `ports.Documents` promises, over every adapter."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone

import pytest

from expert_bot.errors import PreconditionFailedError
from expert_bot.ports import Create, Delete, DocKey, Documents, Fields, Put, Update, Value, Where

NOON = datetime(2023, 5, 2, 12, 0, 0, 123456, tzinfo=UTC)


def with_types(value: Value) -> object:
    """Spell out every type in a value, so that 1, 1.0 and True differ; the order of a map's keys does not count."""
    if isinstance(value, list):
        return [with_types(item) for item in value]
    if isinstance(value, dict):
        return {name: with_types(item) for name, item in value.items()}
    return (type(value), value)


async def test_absent_document_is_none(documents: Documents, unique: str) -> None:
    """A document that was never written reads as None."""
    assert await documents.get(DocKey(unique, "nobody")) is None


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(None, id="null"),
        pytest.param(True, id="true"),
        pytest.param(0, id="zero"),
        pytest.param(-(2**63), id="smallest-integer"),
        pytest.param(2**63 - 1, id="largest-integer"),
        pytest.param(1.0, id="whole-float"),
        pytest.param(0.1, id="float"),
        pytest.param("", id="empty-text"),
        pytest.param("Año · 電気 \n \U0001f50c", id="text"),
        pytest.param(b"", id="no-bytes"),
        pytest.param(b"\x00\xff$", id="bytes"),
        pytest.param(NOON, id="instant"),
        pytest.param([], id="empty-list"),
        pytest.param([1, 1.0, "a", None, {"b": [b"c", NOON]}], id="list"),
        pytest.param({}, id="empty-map"),
        pytest.param({"$bytes": "YQ==", "a b": {"$time": "x", "$map": {"c": NOON}}}, id="map-with-odd-keys"),
    ],
)
async def test_value_comes_back_as_it_was(value: Value, documents: Documents, unique: str) -> None:
    """Every kind of value is read as written, in value and in type."""
    key = DocKey(unique, "values")
    await documents.commit([Create(key, {"field": value})])
    found = await documents.get(key)
    assert found is not None
    assert with_types(found.fields["field"]) == with_types(value)


async def test_instant_comes_back_in_utc(documents: Documents, unique: str) -> None:
    """A datetime of another zone is the same instant in UTC, to the microsecond."""
    key = DocKey(unique, "madrid")
    await documents.commit([Create(key, {"at": NOON.astimezone(timezone(timedelta(hours=2)))})])
    found = await documents.get(key)
    assert found is not None
    at = found.fields["at"]
    assert isinstance(at, datetime)
    assert (NOON, timedelta(0)) == (at, at.utcoffset())


@pytest.mark.parametrize(
    "value", [pytest.param(NOON.replace(tzinfo=None), id="naive"), pytest.param(2**63, id="65-bit-integer")]
)
async def test_value_no_store_can_hold_is_refused(value: Value, documents: Documents, unique: str) -> None:
    """A naive datetime or an integer beyond 64 bits raises ValueError and nothing is written."""
    key = DocKey(unique, "refused")
    with pytest.raises(ValueError, match=r"."):
        await documents.commit([Create(key, {"field": value})])
    assert await documents.get(key) is None


async def test_ids_of_every_kind_are_told_apart(documents: Documents, unique: str) -> None:
    """Ids differing only in case, accents or spaces are different documents."""
    ids = ["a", "A", "á", " a", "a ", "a.b", "%61"]
    await documents.commit([Create(DocKey(unique, name), {"name": name}) for name in ids])
    found = [await documents.get(DocKey(unique, name)) for name in ids]
    assert ids == [document.fields["name"] for document in found if document is not None]


async def test_what_was_read_does_not_change_what_is_stored(documents: Documents, unique: str) -> None:
    """Changing the fields given to a commit, or returned by a read, does not reach the store."""
    key = DocKey(unique, "copied")
    fields: Fields = {"list": [1]}
    await documents.commit([Create(key, fields)])
    written = fields["list"]
    assert isinstance(written, list)
    written.append(2)
    first = await documents.get(key)
    assert first is not None
    read = first.fields["list"]
    assert isinstance(read, list)
    read.append(3)
    second = await documents.get(key)
    assert second is not None
    assert second.fields == {"list": [1]}


async def test_create_on_existing_document_is_refused(documents: Documents, unique: str) -> None:
    """Create fails with PreconditionFailedError and leaves the document as it was."""
    key = DocKey(unique, "taken")
    [version] = await documents.commit([Create(key, {"by": "first"})])
    with pytest.raises(PreconditionFailedError):
        await documents.commit([Create(key, {"by": "second"})])
    found = await documents.get(key)
    assert found is not None
    assert ({"by": "first"}, version) == (found.fields, found.version)


async def test_of_concurrent_creates_one_wins(documents: Documents, unique: str) -> None:
    """However many create the same document at the same time, exactly one succeeds and its fields stay."""
    key = DocKey(unique, "contended")
    outcomes = await asyncio.gather(
        *(documents.commit([Create(key, {"by": number})]) for number in range(20)), return_exceptions=True
    )
    winners = [number for number, outcome in enumerate(outcomes) if isinstance(outcome, list)]
    losers = [outcome for outcome in outcomes if isinstance(outcome, PreconditionFailedError)]
    found = await documents.get(key)
    assert found is not None
    assert ([found.fields["by"]], 19) == (winners, len(losers))


async def test_put_replaces_the_whole_document(documents: Documents, unique: str) -> None:
    """Put writes whatever was there before, and fields it does not name are gone."""
    key = DocKey(unique, "put")
    await documents.commit([Put(key, {"a": 1, "b": 2})])
    await documents.commit([Put(key, {"c": 3})])
    found = await documents.get(key)
    assert found is not None
    assert found.fields == {"c": 3}


async def test_update_replaces_only_the_named_fields(documents: Documents, unique: str) -> None:
    """Update keeps fields it does not name, and replaces a named map as a whole."""
    key = DocKey(unique, "updated")
    await documents.commit([Create(key, {"kept": NOON, "map": {"old": 1}})])
    await documents.commit([Update(key, {"map": {"new": b"2"}, "added": [3]})])
    found = await documents.get(key)
    assert found is not None
    assert found.fields == {"kept": NOON, "map": {"new": b"2"}, "added": [3]}


async def test_update_of_missing_document_is_refused(documents: Documents, unique: str) -> None:
    """Update never creates a document."""
    key = DocKey(unique, "missing")
    with pytest.raises(PreconditionFailedError):
        await documents.commit([Update(key, {"a": 1})])
    assert await documents.get(key) is None


async def test_commit_returns_the_version_that_is_read(documents: Documents, unique: str) -> None:
    """The versions a commit returns are those of the documents it wrote, in its order."""
    first, second = DocKey(unique, "first"), DocKey(unique, "second")
    versions = await documents.commit([Create(first, {"a": 1}), Put(second, {"a": 2})])
    read = [await documents.get(first), await documents.get(second)]
    assert versions == [document.version for document in read if document is not None]


async def test_version_differs_after_every_change(documents: Documents, unique: str) -> None:
    """No two states of a document have the same version, not even across deletion."""
    key = DocKey(unique, "versions")
    versions = []
    for number in range(3):
        versions += await documents.commit([Create(key, {"n": number})])
        versions += await documents.commit([Update(key, {"n": -number - 1})])
        versions += await documents.commit([Put(key, {"n": str(number)})])
        await documents.commit([Delete(key)])
    assert len(set(versions)) == 9


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_write_at_another_version_is_refused(kind: str, documents: Documents, unique: str) -> None:
    """A write whose `if_version` is not the current one changes nothing; at the current one it succeeds."""
    key = DocKey(unique, "versioned")
    [old] = await documents.commit([Create(key, {"n": 1})])
    [current] = await documents.commit([Update(key, {"n": 2}, old)])
    with pytest.raises(PreconditionFailedError):
        await documents.commit([Update(key, {"n": 3}, old) if kind == "update" else Delete(key, old)])
    found = await documents.get(key)
    assert found is not None
    assert found.fields == {"n": 2}
    await documents.commit([Update(key, {"n": 3}, current) if kind == "update" else Delete(key, current)])
    after = await documents.get(key)
    assert ({"n": 3} if kind == "update" else None) == (after.fields if after is not None else None)


@pytest.mark.parametrize("kind", ["update", "delete"])
async def test_version_of_a_deleted_document_is_never_current_again(
    kind: str, documents: Documents, unique: str
) -> None:
    """A version read before a deletion does not match the document that was created after it, nor its absence."""
    key = DocKey(unique, "recreated")
    [old] = await documents.commit([Create(key, {"n": 1})])
    stale = Update(key, {"n": 3}, old) if kind == "update" else Delete(key, old)
    await documents.commit([Delete(key)])
    with pytest.raises(PreconditionFailedError):
        await documents.commit([stale])
    await documents.commit([Create(key, {"n": 1})])
    with pytest.raises(PreconditionFailedError):
        await documents.commit([stale])


async def test_delete_of_absent_document_is_fine(documents: Documents, unique: str) -> None:
    """Delete without a version makes sure the document is gone, whether or not it was there."""
    key = DocKey(unique, "deleted")
    await documents.commit([Delete(key)])
    await documents.commit([Create(key, {"n": 1})])
    await documents.commit([Delete(key)])
    assert await documents.get(key) is None


async def test_commit_with_one_failed_precondition_writes_nothing(documents: Documents, unique: str) -> None:
    """All writes of a commit or none, wherever in the commit the refused one stands."""
    taken, kept, fresh = DocKey(unique, "taken"), DocKey(unique, "kept"), DocKey(unique, "fresh")
    await documents.commit([Create(taken, {}), Create(kept, {"n": 1})])
    with pytest.raises(PreconditionFailedError):
        await documents.commit(
            [Create(fresh, {}), Delete(kept), Put(DocKey(unique, "p"), {}), Create(taken, {})]
        )
    found = await documents.get(kept)
    assert found is not None
    assert (
        found.fields,
        await documents.get(fresh),
        await documents.get(DocKey(unique, "p")),
    ) == ({"n": 1}, None, None)


async def test_empty_commit_does_nothing(documents: Documents) -> None:
    """A commit of no writes succeeds."""
    assert await documents.commit([]) == []


async def test_no_preconditioned_increment_is_lost(documents: Documents, unique: str) -> None:
    """50 concurrent read-modify-writes with the read version as precondition, retried, add up to 50."""
    key = DocKey(unique, "counter")
    await documents.commit([Create(key, {"n": 0})])

    async def increment() -> None:
        while True:
            found = await documents.get(key)
            assert found is not None
            count = found.fields["n"]
            assert isinstance(count, int)
            try:
                await documents.commit([Update(key, {"n": count + 1}, found.version)])
            except PreconditionFailedError:
                continue
            return

    await asyncio.gather(*(increment() for _ in range(50)))
    found = await documents.get(key)
    assert found is not None
    assert found.fields == {"n": 50}


@pytest.mark.parametrize(
    ("expected", "where"),
    [
        pytest.param({"1", "2", "float", "text", "late", "bare"}, [], id="no-condition"),
        pytest.param({"1"}, [Where("n", "==", 1)], id="equal"),
        pytest.param({"1", "float"}, [Where("n", "<", 2)], id="less-floats-too"),
        pytest.param({"1", "2", "float"}, [Where("n", "<=", 2)], id="at-most"),
        pytest.param({"2", "float"}, [Where("n", ">", 1)], id="more"),
        pytest.param({"1", "2", "float"}, [Where("n", ">=", 1)], id="at-least"),
        pytest.param({"text"}, [Where("n", ">=", "")], id="text-never-equals-numbers"),
        pytest.param({"late"}, [Where("at", ">", NOON)], id="instant"),
        pytest.param({"1"}, [Where("at", "<=", NOON), Where("n", "==", 1)], id="both-conditions"),
        pytest.param(set(), [Where("n", "==", 1), Where("s", "==", "open")], id="one-of-two-fails"),
        pytest.param({"2"}, [Where("s", "==", "open")], id="text"),
        pytest.param(set(), [Where("none", "<", 9)], id="no-such-field"),
        pytest.param(set(), [Where("flag", "==", 1)], id="true-is-not-1"),
    ],
)
async def test_find_returns_what_matches(
    expected: set[str], where: list[Where], documents: Documents, unique: str
) -> None:
    """A document is found when every condition holds; a value of another type, or no value, never matches."""
    rows: dict[str, Fields] = {
        "1": {"n": 1, "at": NOON, "s": "closed", "flag": True},
        "2": {"n": 2, "s": "open"},
        "text": {"n": "1"},
        "late": {"at": NOON + timedelta(microseconds=1), "none": None},
        "float": {"n": 1.5},
        "bare": {},
    }
    await documents.commit([Create(DocKey(unique, name), fields) for name, fields in rows.items()])
    await documents.commit([Create(DocKey(f"{unique}_other", "1"), rows["1"])])
    found = await documents.find(unique, where, limit=10)
    assert {name: rows[name] for name in expected} == {document.key.id: document.fields for document in found}


async def test_find_returns_at_most_the_limit(documents: Documents, unique: str) -> None:
    """`limit` bounds the answer, whichever documents it then holds."""
    await documents.commit([Create(DocKey(unique, str(number)), {"n": number}) for number in range(5)])
    assert len({document.key for document in await documents.find(unique, [], limit=3)}) == 3


async def test_found_version_is_a_precondition(documents: Documents, unique: str) -> None:
    """The version that `find` returns is the one that `get` returns."""
    key = DocKey(unique, "found")
    await documents.commit([Create(key, {"n": 1})])
    [found] = await documents.find(unique, [Where("n", "==", 1)], limit=2)
    assert found == await documents.get(key)


async def test_close_twice_is_safe(documents: Documents, unique: str) -> None:
    """A store that answers a ping can be closed more than once."""
    await documents.ping()
    await documents.close()
    await documents.close()
