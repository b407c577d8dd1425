"""What `ports.Files` promises, over this machine's files and over Cloud Storage's own client on a loopback server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer
from google.auth.credentials import AnonymousCredentials
from google.cloud.storage import Client

from expert_bot.errors import PermanentError, StoreUnavailableError
from expert_bot.ports import Files
from expert_bot.storage.cloud_files import CloudFiles
from expert_bot.storage.local_files import LocalFiles

CONTENT = "fecha;hora\né\n".encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Somewhere files are: how to put one there, and what is refused."""

    files: Files
    put: Callable[[str, bytes], str]
    refused: tuple[str, ...]


@pytest.fixture
def local(tmp_path: Path) -> Place:
    """Return a folder, with a file outside it."""
    folder = tmp_path / "documents"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"secret")
    (folder / "link").symlink_to(tmp_path / "secret")

    def put(name: str, content: bytes) -> str:
        (folder / name).write_bytes(content)
        return (folder / name).as_uri()

    return Place(
        files=LocalFiles(folder),
        put=put,
        refused=(
            (tmp_path / "secret").as_uri(),
            (folder / "link").as_uri(),
            f"file://{folder}/../secret",
            f"file://example.org{folder}/x",
            "gs://documents/x",
            folder.as_uri(),
            "file://[x",
        ),
    )


class Bucket:
    """Just enough of Cloud Storage's JSON API to read objects."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}
        self.status = 200
        self.asked: list[str] = []

    async def metadata(self, request: web.Request) -> web.StreamResponse:
        if self.status != 200:
            return web.json_response({"error": {"code": self.status, "message": "no"}}, status=self.status)
        name = unquote(request.match_info["name"])
        self.asked.append(name)
        content = self.objects.get(name)
        if content is None:
            return web.json_response({"error": {"code": 404, "message": "no"}}, status=404)
        if request.query.get("alt") != "media":
            return web.json_response({"name": name, "bucket": "documents", "size": str(len(content))})
        if not content and "Range" in request.headers:
            return web.Response(status=416)
        start, _, end = request.headers.get("Range", "bytes=0-").removeprefix("bytes=").partition("-")
        part = content[int(start) : int(end) + 1 if end else None]
        headers = {"Content-Range": f"bytes {start}-{int(start) + len(part) - 1}/{len(content)}"}
        return web.Response(body=part, status=206, headers=headers)


@pytest.fixture
async def bucket() -> AsyncIterator[tuple[Bucket, str]]:
    """Serve a bucket on loopback."""
    served = Bucket()
    app = web.Application()
    app.router.add_get("/storage/v1/b/documents/o/{name:.+}", served.metadata)
    app.router.add_get("/download/storage/v1/b/documents/o/{name:.+}", served.metadata)
    server = TestServer(app)
    await server.start_server()
    yield served, str(server.make_url("")).rstrip("/")
    await server.close()


@pytest.fixture
async def cloud(bucket: tuple[Bucket, str]) -> AsyncIterator[Place]:
    """Read that bucket with Google's client."""
    served, url = bucket
    client = Client(project="p", credentials=AnonymousCredentials(), client_options={"api_endpoint": url})
    files = CloudFiles(client, ("documents",))

    def put(name: str, content: bytes) -> str:
        served.objects[name] = content
        return f"gs://documents/{name}"

    yield Place(
        files=files, put=put, refused=("gs://others/x", "file:///etc/hosts", "gs://documents", "gs:///x")
    )
    await files.close()


@pytest.fixture(params=["local", "cloud"])
def place(request: pytest.FixtureRequest) -> Place:
    """Return each place in turn."""
    found: Place = request.getfixturevalue(request.param)
    return found


async def test_an_empty_file_is_empty(place: Place) -> None:
    """A range of nothing is not asked for."""
    assert await place.files.fetch(place.put("empty", b""), max_bytes=10) == b""


@pytest.mark.parametrize("name", ["home.csv", "casa de Ana ñ.csv"], ids=["plain", "with spaces"])
async def test_a_file_comes_byte_for_byte(place: Place, name: str) -> None:
    """Nothing is decoded or changed on the way."""
    uri = place.put(name, CONTENT)
    assert await place.files.fetch(uri, max_bytes=1000) == CONTENT


async def test_the_largest_file_is_read_and_one_byte_more_is_not(place: Place) -> None:
    """The limit is a limit, and says so."""
    uri = place.put("large", b"x" * 1000)
    assert len(await place.files.fetch(uri, max_bytes=1000)) == 1000
    with pytest.raises(PermanentError, match="document-too-large") as refused:
        await place.files.fetch(uri, max_bytes=999)
    assert "999" in refused.value.detail


async def test_a_missing_file_is_missing_for_good(place: Place) -> None:
    """No retry brings it; its name is not repeated."""
    uri = place.put("there", b"")
    with pytest.raises(PermanentError, match="document-not-found") as missing:
        await place.files.fetch(uri.replace("there", "gone"), max_bytes=10)
    assert "gone" not in missing.value.detail


@pytest.mark.parametrize("name", ["x" * 500, "home.csv/x"], ids=["too long", "below a file"])
async def test_a_path_that_cannot_be_is_missing_for_good(local: Place, name: str) -> None:
    """No retry makes it exist."""
    uri = local.put("home.csv", CONTENT)
    with pytest.raises(PermanentError, match="document-not-found"):
        await local.files.fetch(uri.replace("home.csv", name), max_bytes=10)


async def test_what_may_not_be_read_is_refused(place: Place) -> None:
    """Other folders, links out of the folder, other hosts, other buckets, other schemes."""
    for uri in place.refused:
        with pytest.raises(PermanentError, match=r"document-uri-refused|document-not-found") as refused:
            await place.files.fetch(uri, max_bytes=10)
        assert refused.value.reason == "document-uri-refused", uri


async def test_an_outage_of_cloud_storage_is_an_outage(
    cloud: Place, bucket: tuple[Bucket, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event is to come again."""
    uri = cloud.put("x", b"x")
    bucket[0].status = 500
    monkeypatch.setattr("google.cloud.storage.retry.DEFAULT_RETRY._timeout", 0.1)
    with pytest.raises(StoreUnavailableError):
        await cloud.files.fetch(uri, max_bytes=10)


async def test_a_forbidden_object_cannot_be_told_from_a_missing_one(
    cloud: Place, bucket: tuple[Bucket, str]
) -> None:
    """Whoever asks learns nothing of what there is."""
    uri = cloud.put("x", b"x")
    bucket[0].status = 403
    with pytest.raises(PermanentError, match="document-not-found"):
        await cloud.files.fetch(uri, max_bytes=10)
