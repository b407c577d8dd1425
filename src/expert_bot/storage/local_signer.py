"""The signer of tokens where there is no Firebase: an RSA key of the data folder, whose tokens `serve` trusts there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from expert_bot.errors import UsageError
from expert_bot.schemas import strict_json
from expert_bot.storage.key_files import made_once

LOCAL_ISSUER: Final = "urn:smarwatt:expert-bot:local"
_KEY_FILE: Final = "token-signing.pem"
_KEY_BITS: Final = 2048
_KEY_ID_CHARS: Final = 32


class LocalSigner:
    """Signs and knows one key. `key_id`: from the hash of the public key, so that another key has another id."""

    def __init__(self, key: RSAPrivateKey) -> None:
        self._key = key
        public = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(public).hexdigest()[:_KEY_ID_CHARS]

    def sign(self, claims: Mapping[str, object]) -> str:
        """Return a compact JWS (RFC 7515) of the claims, RS256."""
        header = {"alg": "RS256", "kid": self.key_id, "typ": "JWT"}
        signed = f"{_base64url(strict_json.dumps(header))}.{_base64url(strict_json.dumps(claims))}"
        return f"{signed}.{_base64url(self._key.sign(signed.encode('ascii'), PKCS1v15(), SHA256()))}"

    async def find_key(self, key_id: str) -> RSAPublicKey | None:
        """Return the public key if it is meant."""
        return self._key.public_key() if key_id == self.key_id else None


def local_signer(folder: Path) -> LocalSigner:
    """Return the signer of a data folder; its key is made the first time, readable by the owner only.

    Raises UsageError if the folder or the file cannot be used.
    """
    path = folder / _KEY_FILE
    try:
        folder.mkdir(parents=True, exist_ok=True)
        key = load_pem_private_key(made_once(path, _new_key), password=None)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"signing key {path} cannot be used: {error}") from error
    if not isinstance(key, RSAPrivateKey):
        raise UsageError(f"signing key {path} must be an RSA key; delete it to have a new one made")
    return LocalSigner(key)


def _new_key() -> bytes:
    key = generate_private_key(65537, _KEY_BITS)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
