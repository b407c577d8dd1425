"""Where a signer's keys may come from."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from expert_bot.config import variable_name
from expert_bot.errors import SettingError


def key_address(field: str, text: str) -> str:
    """Return the URL that a setting names, if nobody on the way can put his own keys into the answer.

    `field`: the setting's. Raises SettingError.
    """
    try:
        url = urlsplit(text)
        host, _port = url.hostname, url.port
    except ValueError:
        host = None
    if host and (url.scheme == "https" or (url.scheme == "http" and _is_loopback(host))):
        return text
    raise SettingError(f"{variable_name(field)}={text!r} must be an https:// URL (http:// on loopback only)")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
