"""Files of this machine, for `file://` documents in embedded mode and with emulators."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from urllib.parse import unquote, urlsplit

from expert_bot.errors import PermanentError, StoreUnavailableError


class LocalFiles:
    """The Files port below one folder; links are followed before it is checked that a file lies there."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def fetch(self, uri: str, *, max_bytes: int) -> bytes:
        """Read a `file:///PATH` of this machine. Raises what the port says."""
        try:
            parts = urlsplit(uri)
        except ValueError as error:  # file://[
            raise PermanentError(
                "document-uri-refused", "only file:///PATH can be read in this mode"
            ) from error
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise PermanentError("document-uri-refused", "only file:///PATH can be read in this mode")
        return await asyncio.to_thread(self._read, unquote(parts.path), max_bytes)

    def _read(self, path: str, max_bytes: int) -> bytes:
        try:
            file = Path(path).resolve(strict=True)
            if not file.is_relative_to(self._folder.resolve()) or not file.is_file():
                raise PermanentError("document-uri-refused", "the file is not below EXPERT_BOT_DOCUMENTS_DIR")
            with file.open("rb") as source:
                content = source.read(max_bytes + 1)
        except (FileNotFoundError, PermissionError, ValueError) as error:
            raise PermanentError(
                "document-not-found", "there is no such file, or it cannot be read"
            ) from error
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP):
                raise PermanentError(
                    "document-not-found", "there is no such file, or it cannot be read"
                ) from error
            raise StoreUnavailableError("the file could not be read") from error
        if len(content) > max_bytes:
            raise PermanentError("document-too-large", f"the file is larger than {max_bytes} bytes: split it")
        return content
