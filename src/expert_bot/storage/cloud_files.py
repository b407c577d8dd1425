"""Files in Cloud Storage, for `gs://` documents, through Google's client in threads of its own."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from google.api_core.exceptions import Forbidden, GoogleAPIError, NotFound
from google.auth.exceptions import GoogleAuthError
from google.cloud.storage import Client
from requests.exceptions import RequestException

from expert_bot.errors import PermanentError, StoreUnavailableError

_URI: Final = re.compile(r"gs://(?P<bucket>[a-z0-9][a-z0-9._-]{1,220}[a-z0-9])/(?P<name>.{1,1024})", re.ASCII)
_THREADS: Final = 4
_TIMEOUT_S: Final = 30.0


class CloudFiles:
    """The Files port over Cloud Storage. `buckets`: those that documents may come from."""

    def __init__(self, client: Client, buckets: Sequence[str]) -> None:
        self._client = client
        self._buckets = frozenset(buckets)
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="cloud-files")

    async def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Download `gs://BUCKET/OBJECT`, never more than a byte too much. Raises what the port says."""
        match = _URI.fullmatch(uri)
        if match is None:
            raise PermanentError("document-uri-refused", "only gs://BUCKET/OBJECT can be read in this mode")
        if match["bucket"] not in self._buckets:
            raise PermanentError("document-uri-refused", "the bucket is not in EXPERT_BOT_DOCUMENT_BUCKETS")
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._download, match["bucket"], match["name"], max_bytes
        )

    async def close(self) -> None:
        """Give up what is being downloaded and free connections; safe to call twice."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    def _download(self, bucket: str, name: str, max_bytes: int) -> bytes:
        try:
            blob = self._client.bucket(bucket).get_blob(name, timeout=_TIMEOUT_S)
            if blob is None:
                raise PermanentError("document-not-found", "there is no such object")
            if blob.size is not None and blob.size > max_bytes:
                raise PermanentError(
                    "document-too-large",
                    f"the file has {blob.size} bytes, at most {max_bytes} are read: split it",
                )
            if blob.size == 0:
                return b""  # a range of an empty object is an error
            content: bytes = blob.download_as_bytes(
                end=max_bytes,
                raw_download=True,  # what is stored, so that the limit is one of memory, too
                timeout=_TIMEOUT_S,
            )
        except NotFound as error:
            raise PermanentError("document-not-found", "there is no such object") from error
        except Forbidden as error:
            raise PermanentError(
                "document-not-found", "the service account may not read this object"
            ) from error
        except (GoogleAPIError, GoogleAuthError, RequestException) as error:
            raise StoreUnavailableError("Cloud Storage did not answer") from error
        if len(content) > max_bytes:
            raise PermanentError("document-too-large", f"the file is larger than {max_bytes} bytes: split it")
        return content
