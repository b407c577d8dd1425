"""Settings: the only reader of the environment.

Every setting of our own has the prefix `EXPERT_BOT_`; names that the platform fixes (`PORT`, `GOOGLE_CLOUD_PROJECT`,
`PUBSUB_EMULATOR_HOST`, `FIRESTORE_EMULATOR_HOST`, `K_SERVICE`) are honoured as they are.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from expert_bot.errors import SettingError

PREFIX: Final = "EXPERT_BOT_"
_SECRETS: Final = ("KEY", "TOKEN", "SECRET", "PASSWORD")
HOST_PATTERN: Final = r"^[A-Za-z0-9.\-\[\]:]+:\d{1,5}$"
_EMULATOR_HOSTS: Final = (
    "PUBSUB_EMULATOR_HOST",
    "FIRESTORE_EMULATOR_HOST",
    "FIREBASE_AUTH_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",  # Google's client would follow it
    f"{PREFIX}BIGQUERY_EMULATOR_HOST",
)


class Mode(StrEnum):
    """Where documents, messages and analytics live."""

    EMBEDDED = "embedded"
    EMULATORS = "emulators"
    CLOUD = "cloud"


class Settings(BaseSettings):
    """Everything that can be set from outside. Durations in seconds, sizes in bytes."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        frozen=True,
        extra="ignore",
        allow_inf_nan=False,
        hide_input_in_errors=True,  # tracebacks show the causes of messages, and one input is a key
    )

    mode: Annotated[Mode, Field(description="Where documents, messages and analytics live.")] = Mode.EMBEDDED
    data_dir: Annotated[Path, Field(description="Folder of the embedded files (SQLite, DuckDB).")] = Path(
        ".expert-bot"
    )
    source: Annotated[
        str,
        Field(
            min_length=1, max_length=200, description="CloudEvents `source` of everything this service emits."
        ),
    ] = "urn:smarwatt:expert-bot"
    allowed_sources: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="CloudEvents sources whose requests are accepted, comma separated; `*` accepts all."
        ),
    ] = ()
    tax_conditions: Annotated[
        dict[Annotated[str, Field(pattern=r"^\d{4}-(0[1-9]|1[0-2])$")], Literal["met", "not-met"]],
        NoDecode,
        Field(
            description="Conditional tax law that has been settled: `YYYY-MM=met` or `YYYY-MM=not-met`, comma separated. "
            "Bills of other conditional months have both readings."
        ),
    ] = {}
    documents_dir: Annotated[
        Path, Field(description="Folder below which `file://` documents may lie; never read in cloud mode.")
    ] = Path("/")
    document_buckets: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Cloud Storage buckets that `gs://` documents may come from, comma separated."),
    ] = ()
    link_domains: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="Domains that short links may lead to, each with its subdomains, comma separated; `*`, every public "
            "one, needs `EXPERT_BOT_LINK_ANY_DOMAIN=true`."
        ),
    ] = ("smarwatt.com",)
    link_any_domain: Annotated[
        bool, Field(description="Confirms that `*` is meant: short links may lead anywhere.")
    ] = False
    public_url: Annotated[
        str | None,
        Field(
            max_length=200,
            pattern=r"^https?://[A-Za-z0-9.-]+(:\d{1,5})?(/[A-Za-z0-9._~-]+)*$",
            description="What short links start with, no slash at the end; https in cloud mode, where there are no short links "
            "without it. Elsewhere by default `http://127.0.0.1:PORT`.",
        ),
    ] = None
    pull: Annotated[bool, Field(description="Whether `serve` also pulls; off where Pub/Sub pushes.")] = True
    pulls: Annotated[int, Field(ge=1, le=32, description="Pull requests open at once per subscription.")] = 4
    max_in_flight: Annotated[
        int, Field(ge=1, le=10_000, description="Messages being worked on at once, over all subscriptions.")
    ] = 500
    push_auth: Annotated[
        Literal["oidc", "iam", "off"] | None,
        Field(
            description="Who checks that a push comes from Pub/Sub: `oidc`: this service, by Google's signed token; "
            "`iam`: Cloud Run has; `off`: nobody. `serve` needs it; embedded mode's default is `off`."
        ),
    ] = None
    push_audiences: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="`oidc`: the token's audience, one for all subscriptions or `SUBSCRIPTION=AUDIENCE`, comma separated."
        ),
    ] = ()
    push_service_accounts: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(
            description="`oidc`: the pushing service account's e-mail, one for all or `SUBSCRIPTION=EMAIL`, comma separated."
        ),
    ] = ()
    push_certs_url: Annotated[
        str,
        Field(max_length=500, description="`oidc`: JWK set of the token's signer; https unless on loopback."),
    ] = "https://www.googleapis.com/oauth2/v3/certs"
    push_tenant_limit: Annotated[
        int, Field(ge=1, le=10_000, description="Pushes of one user being worked on; more get 429.")
    ] = 20
    auth: Annotated[
        Literal["firebase", "local"] | None,
        Field(
            description="Whose tokens callers bring: `firebase`: those of the project `GOOGLE_CLOUD_PROJECT`; `local`: those "
            "of `expert-bot token`, never in cloud mode. Default: `firebase` in cloud mode, else `local`."
        ),
    ] = None
    admin_uids: Annotated[
        tuple[str, ...],
        NoDecode,
        Field(description="Account ids that are admins whatever their tokens say, comma separated."),
    ] = ()
    firebase_keys_url: Annotated[
        str,
        Field(
            max_length=500,
            description="`firebase`: JWK set of the token's signer; https unless on loopback.",
        ),
    ] = "https://www.googleapis.com/service_accounts/v1/jwk/securetoken@system.gserviceaccount.com"
    handler_timeouts_s: Annotated[
        dict[str, Annotated[float, Field(ge=0.1, le=480)]],
        NoDecode,
        Field(
            description="Time an event family's handler may take where it should not be the family's own: "
            "`FAMILY=SECONDS`, comma separated, 0.1 to 480 seconds."
        ),
    ] = {}
    ack_deadline_s: Annotated[
        int,
        Field(ge=10, le=600, description="Pull: how long a delivery stays leased to a worker that has died."),
    ] = 60
    lease_s: Annotated[
        float, Field(ge=0.3, le=600, description="How long an inbox claim is held without a heartbeat.")
    ] = 30.0
    max_attempts: Annotated[
        int, Field(ge=1, le=19, description="Failed attempts after which an event is dead-lettered.")
    ] = 10
    dedup_retention_days: Annotated[
        int, Field(ge=1, le=365, description="How long a finished event is remembered.")
    ] = 46
    relay_every_s: Annotated[
        float, Field(ge=0.1, le=600, description="Pause between sweeps for unpublished replies.")
    ] = 5.0
    drain_s: Annotated[float, Field(ge=0, le=60, description="Time running handlers get after SIGTERM.")] = (
        6.0
    )
    ask_timeout_s: Annotated[
        float, Field(ge=0.1, le=600, description="How long `ask` waits for its reply.")
    ] = 30.0
    bigquery_dataset: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9_]{1,1024}$", description="BigQuery dataset of the analytics tables.")
    ] = "expert_bot"
    bigquery_location: Annotated[
        str | None,
        Field(
            pattern=r"^[A-Za-z0-9-]{1,40}$",
            description="Where the dataset is, e.g. `europe-southwest1`; BigQuery finds out if it is not said.",
        ),
    ] = None
    bigquery_emulator_host: Annotated[
        str | None,
        Field(
            pattern=HOST_PATTERN,
            description="`emulators` mode: host:port of a BigQuery emulator; without it analytics are in DuckDB.",
        ),
    ] = None
    esios_url: Annotated[
        str, Field(max_length=500, description="Where the public API of electricity prices is.")
    ] = "https://api.esios.ree.es"
    esios_token: Annotated[
        SecretStr | None,
        Field(description="Token of that API; without one its public archive is asked."),
    ] = None
    pseudonym_key: Annotated[
        SecretStr | None,
        Field(
            min_length=32,
            description="Secret of at least 32 characters that analytics' pseudonyms of users are made with; required in "
            "cloud mode, else made once in the data folder.",
        ),
    ] = None
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Field(description="Least severe log line that is written."),
    ] = "info"
    log_format: Annotated[
        Literal["auto", "json", "console"],
        Field(description="`auto`: console on a terminal, JSON elsewhere."),
    ] = "auto"
    commit: Annotated[
        str, Field(max_length=64, description="Source revision that `/api/v1/version` reports.")
    ] = "unknown"
    host: Annotated[
        str | None, Field(description="Address to listen on; default loopback, all on Cloud Run.")
    ] = None

    port: Annotated[
        int, Field(ge=0, le=65535, validation_alias="PORT", description="Port to listen on; 0: a free one.")
    ] = 8080
    project: Annotated[
        str,
        Field(
            pattern=r"^[a-z][a-z0-9:.-]{1,60}$",
            validation_alias="GOOGLE_CLOUD_PROJECT",
            description="Google Cloud project id.",
        ),
    ] = "expert-bot-local"
    pubsub_emulator_host: Annotated[
        str | None,
        Field(
            pattern=HOST_PATTERN,
            validation_alias="PUBSUB_EMULATOR_HOST",
            description="host:port of the Pub/Sub emulator.",
        ),
    ] = None
    firestore_emulator_host: Annotated[
        str | None,
        Field(
            pattern=HOST_PATTERN,
            validation_alias="FIRESTORE_EMULATOR_HOST",
            description="host:port of the Firestore emulator.",
        ),
    ] = None
    k_service: Annotated[
        str | None,
        Field(
            validation_alias="K_SERVICE", description="Set by Cloud Run; forbids emulators and embedded mode."
        ),
    ] = None

    @field_validator(
        "allowed_sources",
        "document_buckets",
        "push_audiences",
        "push_service_accounts",
        "admin_uids",
        "link_domains",
        mode="before",
    )
    @classmethod
    def _split_commas(cls, value: object) -> object:
        return (
            tuple(part.strip() for part in value.split(",") if part.strip())
            if isinstance(value, str)
            else value
        )

    @field_validator("handler_timeouts_s", "tax_conditions", mode="before")
    @classmethod
    def _split_pairs(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        pairs = (part.partition("=") for part in value.split(",") if part.strip())
        return {name.strip(): setting.strip() for name, _, setting in pairs}

    @property
    def listen_host(self) -> str:
        """Address the HTTP server binds."""
        return self.host or ("0.0.0.0" if self.k_service else "127.0.0.1")  # noqa: S104  # Cloud Run routes to all


def load_settings() -> Settings:
    """Read the settings from the environment.

    Raises SettingError, one line that names the variable, its value and what is allowed.
    """
    _refuse_unknown(os.environ)
    try:
        settings = Settings()
    except ValidationError as error:
        raise _explain(error.errors()[0], os.environ) from error
    _refuse_contradictions(settings, os.environ)
    return settings


def variable_name(field: str) -> str:
    """Return the environment variable that sets a field."""
    alias = Settings.model_fields[field].validation_alias
    return alias if isinstance(alias, str) else PREFIX + field.upper()


def _refuse_unknown(environ: Mapping[str, str]) -> None:
    known = sorted(variable_name(field) for field in Settings.model_fields)
    for variable, value in environ.items():
        if variable.startswith(PREFIX) and variable not in known:
            # compared without the prefix, which would make everything look alike
            close = difflib.get_close_matches(variable[len(PREFIX) :].lower(), Settings.model_fields, n=1)
            hint = f"did you mean {variable_name(close[0])}?" if close else f"known: {', '.join(known)}"
            raise SettingError(f"{variable}={_shown(variable, value)} is not a setting; {hint}")


def _explain(error: ErrorDetails, environ: Mapping[str, str]) -> SettingError:
    location = str(error["loc"][0])
    variable = location if location in environ else PREFIX + location.upper()
    if error["type"] in ("enum", "literal_error"):
        allowed = (
            f"allowed: {error.get('ctx', {}).get('expected', '').replace(chr(39), '').replace(' or ', ', ')}"
        )
    else:
        allowed = error["msg"][0].lower() + error["msg"][1:]
    return SettingError(f"{variable}={_shown(variable, environ.get(variable, ''))}: {allowed}")


def _shown(variable: str, value: str) -> str:
    """Return a value as messages show it: never that of a secret, however its name is misspelt."""
    return "'***'" if value and any(word in variable.upper() for word in _SECRETS) else repr(value)


def _refuse_contradictions(settings: Settings, environ: Mapping[str, str]) -> None:
    mode = f"{PREFIX}MODE={settings.mode.value!r}"
    if settings.mode is Mode.EMULATORS:
        for variable in ("PUBSUB_EMULATOR_HOST", "FIRESTORE_EMULATOR_HOST"):
            if not environ.get(variable):
                raise SettingError(f"{variable}='' must be set to host:port with {mode}, e.g. 127.0.0.1:8085")
    if settings.k_service and settings.mode is not Mode.CLOUD:
        raise SettingError(f"{mode}: on Cloud Run (K_SERVICE={settings.k_service!r}) only 'cloud' is allowed")
    if "*" in settings.link_domains and not settings.link_any_domain:
        raise SettingError(
            f"{PREFIX}LINK_DOMAINS='*' lets short links lead anywhere; if that is meant, set {PREFIX}LINK_ANY_DOMAIN=true"
        )
    if settings.mode is Mode.CLOUD:
        _refuse_unfit_for_cloud(settings, environ, mode)


def _refuse_unfit_for_cloud(settings: Settings, environ: Mapping[str, str], mode: str) -> None:
    for variable in _EMULATOR_HOSTS:
        if environ.get(variable):
            raise SettingError(f"{variable}={environ[variable]!r} must not be set with {mode}")
    if not environ.get("GOOGLE_CLOUD_PROJECT"):
        raise SettingError(f"GOOGLE_CLOUD_PROJECT='' must name the project with {mode}")
    if settings.pseudonym_key is None:
        raise SettingError(f"{PREFIX}PSEUDONYM_KEY='' must be a secret of at least 32 characters with {mode}")
    if settings.public_url is not None and not settings.public_url.startswith("https://"):
        raise SettingError(f"{PREFIX}PUBLIC_URL={settings.public_url!r} must start with https:// with {mode}")
    if not settings.allowed_sources:
        raise SettingError(
            f"{PREFIX}ALLOWED_SOURCES='' must list the accepted event sources (or '*') with {mode}"
        )
