"""Settings: what is read, and every mistake explained in one line that names variable, value and what is allowed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from expert_bot.config import Mode, Settings, load_settings, variable_name
from expert_bot.errors import SettingError

OWN_VARIABLES = {variable_name(field) for field in Settings.model_fields} | {
    "FIREBASE_AUTH_EMULATOR_HOST",
    "BIGQUERY_EMULATOR_HOST",
}
EMULATORS = {
    "EXPERT_BOT_MODE": "emulators",
    "PUBSUB_EMULATOR_HOST": "127.0.0.1:8085",
    "FIRESTORE_EMULATOR_HOST": "127.0.0.1:8086",
}
CLOUD = {
    "EXPERT_BOT_MODE": "cloud",
    "GOOGLE_CLOUD_PROJECT": "my-project",
    "EXPERT_BOT_ALLOWED_SOURCES": "//energy-ia",
    "EXPERT_BOT_PSEUDONYM_KEY": "k" * 32,
    "K_SERVICE": "expert-bot",
}


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in tuple(os.environ):
        if variable.upper() in OWN_VARIABLES or variable.upper().startswith("EXPERT_BOT_"):
            monkeypatch.delenv(variable)


def load(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]) -> Settings:
    """Load the settings of an environment with these variables."""
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    return load_settings()


def test_nothing_set_is_the_embedded_mode_on_loopback() -> None:
    """A laptop needs no settings, and nobody else reaches it."""
    settings = load_settings()
    assert (settings.mode, settings.data_dir, settings.port) == (Mode.EMBEDDED, Path(".expert-bot"), 8080)
    assert settings.listen_host == "127.0.0.1"


def test_every_setting_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Own names carry the prefix; the platform's names are honoured as they are."""
    settings = load(
        monkeypatch,
        CLOUD
        | {"PORT": "0", "EXPERT_BOT_PULL": "false", "EXPERT_BOT_LEASE_S": "1.5", "EXPERT_BOT_PULLS": "4"},
    )
    assert (settings.mode, settings.project, settings.k_service) == (Mode.CLOUD, "my-project", "expert-bot")
    assert (settings.port, settings.pull, settings.lease_s, settings.pulls) == (0, False, 1.5, 4)
    assert settings.listen_host == "0.0.0.0"


@pytest.mark.parametrize(
    ("sources", "text"),
    [
        pytest.param(("//a", "urn:b"), "//a, urn:b", id="spaces"),
        pytest.param(("//a",), ",//a,,", id="empty parts"),
        pytest.param(("*",), "*", id="all"),
        pytest.param((), "", id="empty"),
    ],
)
def test_sources_are_a_comma_separated_list(
    sources: tuple[str, ...], text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A list is written with commas."""
    assert sources == load(monkeypatch, {"EXPERT_BOT_ALLOWED_SOURCES": text}).allowed_sources


def test_empty_variables_mean_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty variable is what templates leave behind: the default holds."""
    assert load(monkeypatch, dict.fromkeys(OWN_VARIABLES, "")) == Settings()


@pytest.mark.parametrize(
    ("parts", "variables"),
    [
        pytest.param(["EXPERT_BOT_MODE='prod'", "embedded, emulators, cloud"], {"EXPERT_BOT_MODE": "prod"}, id="mode"),
        pytest.param(["EXPERT_BOT_LOG_LEVEL='loud'", "debug, info, warning, error"], {"EXPERT_BOT_LOG_LEVEL": "loud"}, id="level"),
        pytest.param(["EXPERT_BOT_PULLS='0'", "greater than or equal to 1"], {"EXPERT_BOT_PULLS": "0"}, id="too small"),
        pytest.param(["EXPERT_BOT_MAX_ATTEMPTS='20'", "less than or equal to 19"], {"EXPERT_BOT_MAX_ATTEMPTS": "20"}, id="too large"),
        pytest.param(["EXPERT_BOT_PULLS='two'", "valid integer"], {"EXPERT_BOT_PULLS": "two"}, id="not a number"),
        pytest.param(["EXPERT_BOT_LEASE_S='nan'", "finite number"], {"EXPERT_BOT_LEASE_S": "nan"}, id="NaN"),
        pytest.param(["EXPERT_BOT_PULL='maybe'", "valid boolean"], {"EXPERT_BOT_PULL": "maybe"}, id="not a boolean"),
        pytest.param(["EXPERT_BOT_HANDLER_TIMEOUTS_S='chat=soon'", "valid number"], {"EXPERT_BOT_HANDLER_TIMEOUTS_S": "chat=soon"}, id="timeout not a number"),
        pytest.param(["EXPERT_BOT_HANDLER_TIMEOUTS_S='chat'", "valid number"], {"EXPERT_BOT_HANDLER_TIMEOUTS_S": "chat"}, id="timeout without seconds"),
        pytest.param(["EXPERT_BOT_HANDLER_TIMEOUTS_S='chat=481'", "less than or equal to 480"], {"EXPERT_BOT_HANDLER_TIMEOUTS_S": "chat=481"}, id="timeout too long"),
        pytest.param(["EXPERT_BOT_SOURCE", "at most 200"], {"EXPERT_BOT_SOURCE": "x" * 201}, id="too long"),
        pytest.param(["PORT='http'", "valid integer"], {"PORT": "http"}, id="platform's variable"),
        pytest.param(["PORT='65536'", "65535"], {"PORT": "65536"}, id="port"),
        pytest.param(["GOOGLE_CLOUD_PROJECT='My Project'", "match pattern"], {"GOOGLE_CLOUD_PROJECT": "My Project"}, id="project"),
        pytest.param(["PUBSUB_EMULATOR_HOST='localhost'", "match pattern"], EMULATORS | {"PUBSUB_EMULATOR_HOST": "localhost"}, id="host without port"),
        pytest.param(["EXPERT_BOT_MODE='a\\nb'"], {"EXPERT_BOT_MODE": "a\nb"}, id="line end in a value"),
        pytest.param(["EXPERT_BOT_MOED='cloud' is not a setting", "did you mean EXPERT_BOT_MODE?"], {"EXPERT_BOT_MOED": "cloud"}, id="typing mistake"),
        pytest.param(["EXPERT_BOT_PORT='1'", "did you mean PORT?"], {"EXPERT_BOT_PORT": "1"}, id="prefix too much"),
        pytest.param(["EXPERT_BOT_ZZZ='1'", "known: ", "EXPERT_BOT_MODE"], {"EXPERT_BOT_ZZZ": "1"}, id="unlike any"),
        pytest.param(["PUBSUB_EMULATOR_HOST=''", "host:port", "EXPERT_BOT_MODE='emulators'"], EMULATORS | {"PUBSUB_EMULATOR_HOST": ""}, id="no Pub/Sub emulator"),
        pytest.param(["FIRESTORE_EMULATOR_HOST=''", "host:port"], EMULATORS | {"FIRESTORE_EMULATOR_HOST": ""}, id="no Firestore emulator"),
        pytest.param(["EXPERT_BOT_MODE='embedded'", "K_SERVICE='x'", "'cloud'"], {"K_SERVICE": "x"}, id="embedded on Cloud Run"),
        pytest.param(["EXPERT_BOT_MODE='emulators'", "K_SERVICE='x'", "'cloud'"], EMULATORS | {"K_SERVICE": "x"}, id="emulators on Cloud Run"),
        pytest.param(["PUBSUB_EMULATOR_HOST='h:1' must not be set"], CLOUD | {"PUBSUB_EMULATOR_HOST": "h:1"}, id="cloud, Pub/Sub emulator"),
        pytest.param(["FIRESTORE_EMULATOR_HOST='h:1' must not be set"], CLOUD | {"FIRESTORE_EMULATOR_HOST": "h:1"}, id="cloud, Firestore emulator"),
        pytest.param(["FIREBASE_AUTH_EMULATOR_HOST='h:1' must not be set"], CLOUD | {"FIREBASE_AUTH_EMULATOR_HOST": "h:1"}, id="cloud, Firebase emulator"),
        pytest.param(["EXPERT_BOT_BIGQUERY_EMULATOR_HOST='h:1' must not be set"], CLOUD | {"EXPERT_BOT_BIGQUERY_EMULATOR_HOST": "h:1"}, id="cloud, BigQuery emulator"),
        pytest.param(["BIGQUERY_EMULATOR_HOST='h:1' must not be set"], CLOUD | {"BIGQUERY_EMULATOR_HOST": "h:1"}, id="cloud, BigQuery emulator of Google's client"),
        pytest.param(["EXPERT_BOT_BIGQUERY_DATASET='a-b'", "match pattern"], {"EXPERT_BOT_BIGQUERY_DATASET": "a-b"}, id="dataset"),
        pytest.param(["EXPERT_BOT_PSEUDONYM_KEY=''", "at least 32 characters"], CLOUD | {"EXPERT_BOT_PSEUDONYM_KEY": ""}, id="cloud, no key"),
        pytest.param(["GOOGLE_CLOUD_PROJECT=''", "must name the project"], CLOUD | {"GOOGLE_CLOUD_PROJECT": ""}, id="cloud, no project"),
        pytest.param(["EXPERT_BOT_ALLOWED_SOURCES=''", "or '*'"], CLOUD | {"EXPERT_BOT_ALLOWED_SOURCES": " , "}, id="cloud, no sources"),
    ],
)  # fmt: skip
def test_a_mistake_is_explained_in_one_line(
    parts: list[str], variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the variable, its value and what is allowed, on one line."""
    with pytest.raises(SettingError) as refused:
        load(monkeypatch, variables)
    message = str(refused.value)
    assert "\n" not in message
    assert [part for part in parts if part not in message] == [], message


@pytest.mark.parametrize(
    "variable",
    [
        pytest.param("EXPERT_BOT_PSEUDONYM_KEY", id="too short"),
        pytest.param("EXPERT_BOT_PSEUDONIM_KEY", id="misspelt"),
    ],
)
def test_a_key_is_never_shown(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the message about a key nor the settings as text hold its value."""
    with pytest.raises(SettingError) as refused:
        load(monkeypatch, {variable: "s3cret"})
    monkeypatch.delenv(variable)
    settings = load(monkeypatch, {"EXPERT_BOT_PSEUDONYM_KEY": "s3cret" * 6})
    assert [variable, "'***'"] == str(refused.value).partition(" ")[0].rstrip(":").split("=")
    assert "s3cret" not in f"{refused.value}{settings!r}"


@pytest.mark.parametrize(
    "variables", [pytest.param(EMULATORS, id="emulators"), pytest.param(CLOUD, id="cloud")]
)
def test_a_complete_environment_is_accepted(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mode has a set of variables that it starts with."""
    assert load(monkeypatch, variables).mode == variables["EXPERT_BOT_MODE"]


def test_attempts_stay_below_the_brokers() -> None:
    """Our last attempt comes before the broker's, so that the reason is ours rather than the broker's silence."""
    assert Settings().max_attempts < 20
