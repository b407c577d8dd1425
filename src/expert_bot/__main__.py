"""The command line: `expert-bot`, also `python -m expert_bot`."""

from __future__ import annotations

import sys
from typing import Annotated, Final

import typer

from expert_bot import __version__
from expert_bot.commands import (
    advice,
    anomalies,
    bill,
    compare,
    consumption,
    contract,
    deadletters,
    forecast,
    imports,
    prices,
    requests,
    rules,
    running,
    token,
    topics,
)
from expert_bot.commands.common import EXIT_FAILED
from expert_bot.errors import ExpertBotError, SettingError, TransientError, UsageError

EXIT_USAGE: Final = 2
EXIT_TRY_AGAIN: Final = 75

app = typer.Typer(
    name="expert-bot",
    help="Answers Spanish households' electricity questions: CloudEvents in, true numbers out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback(invoke_without_command=True)
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    if version:
        typer.echo(__version__)
        raise typer.Exit


for group in (
    running,
    token,
    requests,
    imports,
    bill,
    compare,
    consumption,
    forecast,
    anomalies,
    advice,
    prices,
    rules,
    topics,
    deadletters,
    contract,
):
    group.add_to(app)


def main() -> None:
    """Run the command line. Exit codes: 0 done, 1 failed, 2 wrong use or setting, 75 try again later."""
    try:
        app()
    except (UsageError, SettingError) as error:
        _fail(error, EXIT_USAGE)
    except TransientError as error:
        _fail(error, EXIT_TRY_AGAIN)
    except ExpertBotError as error:
        _fail(error, EXIT_FAILED)


def _fail(error: ExpertBotError, code: int) -> None:
    typer.echo(f"error: {error}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
