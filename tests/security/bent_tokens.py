"""The table of bent push tokens: makers of requests, by the reason for which they are to be refused, and by name."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, padding
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA512
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.token_mint import AUDIENCE, EMAIL, Signer, claims, encoded, signer

OTHER_AUDIENCE = "https://bot.example.org/other"
GOOGLE = signer("google-1")
STRANGER = signer("stranger-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Push:
    """A push request: its Authorization headers, what follows the path, and further headers."""

    authorizations: Sequence[str] = ()
    query: str = ""
    headers: Sequence[tuple[str, str]] = ()


MakePush = Callable[[], Push]


def bearer(token: str) -> Push:
    """Return the usual request with a token."""
    return Push(authorizations=[f"Bearer {token}"])


def valid(**changes: Any) -> str:
    """Return a genuine token, but for these claims."""
    return GOOGLE.sign(claims(**changes))


def saying(**changes: Any) -> MakePush:
    """Return a maker of requests whose genuinely signed token says something else."""
    return lambda: bearer(valid(**changes))


def at(**offsets_s: float) -> MakePush:
    """Return a maker of requests whose token's times are these seconds from now."""
    return lambda: bearer(valid(**{name: int(time.time()) + offset for name, offset in offsets_s.items()}))


def headed(**changes: Any) -> MakePush:
    """Return a maker of requests whose genuinely signed token has another header."""
    return lambda: bearer(GOOGLE.sign(claims(), **changes))


def rewritten(*, header: Callable[[str], str] = str, body: Callable[[str], str] = str) -> MakePush:
    """Return a maker of requests whose token is signed over the changed text of its header or its claims."""
    return lambda: bearer(GOOGLE.sign_text(header(json.dumps(GOOGLE.header())), body(json.dumps(claims()))))


def bent(bend: Callable[[str, str, str], str]) -> MakePush:
    """Return a maker of requests whose token is made of the three parts of a valid one."""
    return lambda: bearer(bend(*valid().split(".")))


def other_bytes(header: dict[str, Any], sign: Callable[[bytes], bytes]) -> Push:
    """Return a request whose token has this header and is signed in another way."""
    signed = f"{encoded(json.dumps(header).encode())}.{encoded(json.dumps(claims()).encode())}"
    return bearer(f"{signed}.{encoded(sign(signed.encode()))}")


def hs256_with_public_key(encoding: Encoding, form: PublicFormat) -> MakePush:
    """Return the classic confusion: the public key, which everybody has, taken as the secret of an HMAC."""
    secret = GOOGLE.key.public_key().public_bytes(encoding, form)
    return lambda: other_bytes(
        GOOGLE.header(alg="HS256"), lambda signed: hmac.new(secret, signed, hashlib.sha256).digest()
    )


def es256(signed: bytes) -> bytes:
    """Sign with an elliptic curve key of the attacker's own."""
    r, s = decode_dss_signature(ec.generate_private_key(ec.SECP256R1()).sign(signed, ec.ECDSA(SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def pss(signed: bytes) -> bytes:
    """Sign with the right key in another padding."""
    return GOOGLE.key.sign(signed, padding.PSS(padding.MGF1(SHA256()), 32), SHA256())


def flip(part: str, bit: int) -> str:
    """Return a part of a token with one bit of its bytes flipped; negative bits count from the end."""
    raw = bytearray(base64.urlsafe_b64decode(part + "=="))
    position = bit % (8 * len(raw))
    raw[position // 8] ^= 1 << (position % 8)
    return encoded(bytes(raw))


def respelt(part: str) -> str:
    """Return another spelling of the same bytes: the bits of the last character that do not count."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    last = alphabet[alphabet.index(part[-1]) ^ 1]
    assert base64.urlsafe_b64decode(part + "==") == base64.urlsafe_b64decode(part[:-1] + last + "==")
    return part[:-1] + last


def forged(by: Signer, **header: Any) -> MakePush:
    """Return a maker of requests whose token is right in everything, but signed by another key."""
    return lambda: bearer(by.sign(claims(), **header))


PEM, DER, SPKI, PKCS1 = (
    Encoding.PEM,
    Encoding.DER,
    PublicFormat.SubjectPublicKeyInfo,
    PublicFormat.PKCS1,
)
NAMED_JWK = {"kid": None, "jwk": STRANGER.jwk()}

BENT: Mapping[str, Mapping[str, MakePush]] = {
    "no-token": {
        "no header": Push,
        "token in the query": lambda: Push(query=f"?access_token={valid()}&token={valid()}"),
        "token in another header": lambda: Push(headers=[("X-Serverless-Authorization", f"Bearer {valid()}")]),
        "token in a cookie": lambda: Push(headers=[("Cookie", f"Authorization=Bearer {valid()}")]),
    },
    "not-a-bearer-token": {
        "empty header": lambda: Push(authorizations=[""]),
        "basic scheme": lambda: Push(authorizations=[f"Basic {valid()}"]),
        "scheme in lower case": lambda: Push(authorizations=[f"bearer {valid()}"]),
        "no scheme": lambda: Push(authorizations=[valid()]),
        "tab for a space": lambda: Push(authorizations=[f"Bearer\t{valid()}"]),
    },
    "not-a-token": {
        "scheme alone": lambda: Push(authorizations=["Bearer"]),
        "empty token": lambda: Push(authorizations=["Bearer "]),
        "two tokens in one header": lambda: Push(authorizations=[f"Bearer {valid()}, Bearer {valid()}"]),
        "two spaces": lambda: Push(authorizations=[f"Bearer  {valid()}"]),
        "alg none, no signature": bent(
            lambda h, c, s: f"{encoded(json.dumps(GOOGLE.header(alg='none')).encode())}.{c}."
        ),
        "no signature": bent(lambda h, c, s: f"{h}.{c}."),
        "two parts": bent(lambda h, c, s: f"{h}.{c}"),
        "four parts": bent(lambda h, c, s: f"{h}.{c}.{s}.{s}"),
        "signature cut by a character": bent(lambda h, c, s: f"{h}.{c}.{s[:-1]}"),
        "signature spelt otherwise": bent(lambda h, c, s: f"{h}.{c}.{respelt(s)}"),
        "signature padded": bent(lambda h, c, s: f"{h}.{c}.{s}=="),
        "first bit of the header flipped": bent(lambda h, c, s: f"{flip(h, 0)}.{c}.{s}"),
        "first bit of the claims flipped": bent(lambda h, c, s: f"{h}.{flip(c, 0)}.{s}"),
        "last bit of the claims flipped": bent(lambda h, c, s: f"{h}.{flip(c, -1)}.{s}"),
        "space before the token's end": bent(lambda h, c, s: f"{h}.{c} .{s}"),
        "space in the claims": bent(lambda h, c, s: f"{h}.{c[:40]} {c[40:]}.{s}"),
        "comma in the signature": bent(lambda h, c, s: f"{h}.{c}.{s[:40]},{s[40:]}"),
        "base64 instead of base64url": lambda: bearer(valid(azp=">>>>>").replace("-", "+").replace("_", "/")),
        "letters that are not ASCII": bent(lambda h, c, s: f"{h}.{c}.{s[:-1]}ñ"),
        "full-width letters": bent(lambda h, c, s: f"{h}.{c}.{chr(0xFF21)}{s[1:]}"),
        "not base64": lambda: bearer("%%%.%%%.%%%"),
        "words": lambda: bearer("let.me.in"),
        "header not JSON": rewritten(header=lambda _: "RS256"),
        "header a list": rewritten(header=lambda text: f"[{text}]"),
        "claims not JSON": rewritten(body=lambda text: text[:-1]),
        "claims a string": rewritten(body=json.dumps),
        "claims null": rewritten(body=lambda _: "null"),
        "claims nested 1,000 deep": rewritten(body=lambda _: "[" * 1000 + "]" * 1000),
        "byte order mark": rewritten(body=lambda text: "\ufeff" + text),
        "audience twice": rewritten(body=lambda text: '{"aud": "https://evil.example.org", ' + text[1:]),
        "algorithm twice": rewritten(header=lambda text: '{"alg": "none", ' + text[1:]),
        "email twice": rewritten(body=lambda text: text[:-1] + ', "email": "mallory@example.org"}'),
        "exp infinite": saying(exp=float("inf")),
        "exp NaN": saying(exp=float("nan")),
    },
    "several-tokens": {
        "two headers, both valid": lambda: Push(authorizations=[f"Bearer {valid()}"] * 2),
        "two headers, one valid": lambda: Push(authorizations=[f"Bearer {valid()}", "Bearer x"]),
    },
    "wrong-algorithm": {
        "alg none": lambda: other_bytes(GOOGLE.header(alg="none"), lambda _: b"\0"),
        "alg None, genuine signature": headed(alg="None"),
        "alg missing": headed(alg=None),
        "alg a list": headed(alg=["RS256"]),
        "alg in lower case": headed(alg="rs256"),
        "alg HS256, public key in PEM": hs256_with_public_key(PEM, SPKI),
        "alg HS256, public key in DER": hs256_with_public_key(DER, SPKI),
        "alg HS256, public key in PKCS1": hs256_with_public_key(PEM, PKCS1),
        "alg ES256, own key": lambda: other_bytes(GOOGLE.header(alg="ES256"), es256),
        "alg RS512, right key": lambda: other_bytes(
            GOOGLE.header(alg="RS512"), lambda signed: GOOGLE.key.sign(signed, padding.PKCS1v15(), SHA512())
        ),
        "alg PS256, right key": lambda: other_bytes(GOOGLE.header(alg="PS256"), pss),
        "header and claims exchanged": bent(lambda h, c, s: f"{c}.{h}.{s}"),
    },
    "wrong-signature": {
        "RS512 called RS256": lambda: other_bytes(
            GOOGLE.header(), lambda signed: GOOGLE.key.sign(signed, padding.PKCS1v15(), SHA512())
        ),
        "PS256 called RS256": lambda: other_bytes(GOOGLE.header(), pss),
        "another key under the right id": forged(STRANGER, kid=GOOGLE.key_id),
        "signature that Cloud Run has removed": bent(lambda h, c, s: f"{h}.{c}.SIGNATURE_REMOVED_BY_GOOGLE"),
        "signature with a byte more": bent(lambda h, c, s: f"{h}.{c}.{encoded(base64.urlsafe_b64decode(s + '==') + b'x')}"),
        "signature cut in half": bent(lambda h, c, s: f"{h}.{c}.{s[:168]}"),
        "signature of zeros": bent(lambda h, c, s: f"{h}.{c}.{encoded(bytes(256))}"),
        "signature of another token": bent(lambda h, c, s: f"{h}.{c}.{valid(sub='1').split('.')[2]}"),
        "a bit of the audience flipped": bent(lambda h, c, s: f"{h}.{flip(c, 8 * 20)}.{s}"),
        "first bit of the signature flipped": bent(lambda h, c, s: f"{h}.{c}.{flip(s, 0)}"),
        "last bit of the signature flipped": bent(lambda h, c, s: f"{h}.{c}.{flip(s, -1)}"),
    },
    "unknown-key": {
        "unknown key": forged(STRANGER),
        "key id a path": headed(kid="../google-1"),
        "a bit of the key id flipped": bent(lambda h, c, s: f"{flip(h, 8 * 27)}.{c}.{s}"),
    },
    "no-key-id": {
        "no key id": headed(kid=None),
        "empty key id": headed(kid=""),
        "key id a number": headed(kid=1),
        "key id a list": headed(kid=[GOOGLE.key_id]),
    },
    "refused-header": {
        "key in the header": forged(STRANGER, **NAMED_JWK),
        "key in the header beside the right id": headed(jwk=STRANGER.jwk()),
        "key set's address in the header": headed(jku="https://keys.example.org/certs"),
        "certificate's address in the header": headed(x5u="https://keys.example.org/cert"),
        "certificate in the header": headed(x5c=["MIIB"]),
        "crit": headed(crit=["exp"]),
        "unencoded payload": headed(b64=False, crit=["b64"]),
        "compressed": headed(zip="DEF"),
        "another type of token": headed(typ="at+jwt"),
    },
    "expired": {
        "expired": at(iat=-4000, exp=-31),
        "expired long ago": at(iat=-90_000, exp=-86_400),
        "exp negative": saying(exp=-1),
    },
    "no-exp": {
        "no exp": saying(exp=None),
        "exp a string": lambda: bearer(valid(exp=str(int(time.time()) + 3600))),
        "exp a float": lambda: bearer(valid(exp=time.time() + 3600.5)),
        "exp true": saying(exp=True),
        "exp a list": saying(exp=[9_999_999_999]),
    },
    "issued-in-the-future": {
        "issued in the future": at(iat=90),
        "iat in milliseconds": lambda: bearer(valid(iat=int(time.time() * 1000))),
    },
    "no-iat": {
        "no iat": saying(iat=None),
        "iat a string": saying(iat="0"),
    },
    "not-valid-yet": {
        "not valid yet": at(nbf=90),
    },
    "no-nbf": {
        "nbf a string": saying(nbf="0"),
    },
    "wrong-issuer": {
        "no issuer": saying(iss=None),
        "another issuer": saying(iss="https://accounts.example.org"),
        "issuer over http": saying(iss="http://accounts.google.com"),
        "issuer with a slash": saying(iss="https://accounts.google.com/"),
        "issuer as a prefix": saying(iss="https://accounts.google.com.example.org"),
        "issuer as a host's part": saying(iss="https://evil.accounts.google.com"),
        "issuer in capitals": saying(iss="HTTPS://ACCOUNTS.GOOGLE.COM"),
        "issuer a list": saying(iss=["https://accounts.google.com"]),
        "issuer of Firebase": saying(iss="https://securetoken.google.com/example-project"),
    },
    "wrong-audience": {
        "no audience": saying(aud=None),
        "empty audience": saying(aud=""),
        "audience a list of the right one": saying(aud=[AUDIENCE]),
        "audience a list with the right one": saying(aud=["https://evil.example.org", AUDIENCE]),
        "audience with a slash more": saying(aud=AUDIENCE + "/"),
        "audience cut": saying(aud=AUDIENCE[:-1]),
        "audience with a query": saying(aud=AUDIENCE + "?x=1"),
        "audience in capitals": saying(aud=AUDIENCE.upper()),
        "audience with a space": saying(aud=AUDIENCE + " "),
        "audience over http": saying(aud=AUDIENCE.replace("https", "http")),
        "audience of another service": saying(aud="https://other.example.org/push"),
        "audience an object": saying(aud={AUDIENCE: AUDIENCE}),
        "token of another subscription": saying(aud=OTHER_AUDIENCE),
    },
    "no-subject": {
        "no subject": saying(sub=None),
        "empty subject": saying(sub=""),
        "subject a number": saying(sub=1),
    },
    "no-verified-email": {
        "no email": saying(email=None),
        "email a list": saying(email=[EMAIL]),
        "email_verified missing": saying(email_verified=None),
        "email_verified false": saying(email_verified=False),
        "email_verified a string": saying(email_verified="true"),
        "email_verified one": saying(email_verified=1),
    },
}  # fmt: skip

STRANGERS = {
    "another service account": "mallory@example-project.iam.gserviceaccount.com",
    "the same name elsewhere": EMAIL.replace("example-project", "evil-project"),
    "in capitals": EMAIL.upper(),
    "with a suffix": EMAIL + ".example.org",
    "with a prefix": "x" + EMAIL,
    "with a space": EMAIL + " ",
    "with a zero byte": EMAIL + "\0",
    "a letter that looks the same": EMAIL.replace("e", "е", 1),
    "a person": "ana@example.org",
}
