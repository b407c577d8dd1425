"""Commands that run: the demonstration, and the service."""

from __future__ import annotations

import asyncio

import typer

from expert_bot import show
from expert_bot.commands.common import AsJson, print_json, start
from expert_bot.demo import run_demo
from expert_bot.service import run_service


def add_to(app: typer.Typer) -> None:
    """Add `demo`, `serve` and `work`."""
    app.command()(demo)
    app.command()(serve)
    app.command()(work)


def demo(as_json: AsJson = False) -> None:
    """Show the whole way of one question, with a simulated household, in embedded mode."""
    settings = start(quiet=True)
    run = asyncio.run(run_demo(settings, announce=show.silent if as_json else show.step))
    if as_json:
        print_json({**show.exchange(run.request, run.reply), "timings_s": run.timings_s})
    else:
        show.demo(run, settings)


def serve() -> None:
    """Run the HTTP surface and the consumers until SIGTERM."""
    asyncio.run(run_service(start(), with_http=True))


def work() -> None:
    """Run the consumers until SIGTERM."""
    asyncio.run(run_service(start(), with_http=False))
