"""What people see on the terminal: events, replies, reports. `exchange` and `import_report` are the stable JSON forms."""

from __future__ import annotations

import json
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from expert_bot.config import Settings
from expert_bot.demo import DemoRun
from expert_bot.ingest import ImportReport
from expert_bot.schemas.envelope import CloudEvent, context_attributes

MAX_REJECTED_SHOWN: Final = 20
console = Console(highlight=False)
progress_console = Console(stderr=True)


def silent(_text: str) -> None:
    """Show nothing."""


def step(text: str) -> None:
    """Show that a step begins."""
    console.print(f"[bold cyan]>[/] {escape(text)}")


def event(title: str, shown: CloudEvent) -> None:
    """Show an event: its context attributes and its data."""
    attributes = "\n".join(
        f"[dim]{name}[/]: {escape(value)}" for name, value in context_attributes(shown).items()
    )
    data = json.loads(shown.data)
    if data.get("facts"):
        data["facts"] = f"<{len(data['facts'])} facts, listed below>"
    text = escape(json.dumps(data, ensure_ascii=False, indent=2))
    console.print(Panel(f"{attributes}\n\n{text}", title=title, title_align="left"))


def reply(shown: CloudEvent) -> None:
    """Show a reply's text and the facts behind it, or why the request failed."""
    data = json.loads(shown.data)
    if "response" not in data:
        console.print(
            f"[bold red]{escape(data['title'])}[/]: {escape(data['detail'])} ({escape(data['reason'])})"
        )
        return
    console.print(Panel(escape(data["response"]), title="Answer", title_align="left", border_style="green"))
    facts(data["facts"])
    for question in data["suggestions"]:
        console.print(f"[dim]You could ask:[/] {escape(question)}")


def facts(shown: list[dict[str, Any]]) -> None:
    """Show the facts of an answer as a table."""
    if not shown:
        return
    table = Table("fact", "value", "unit", "from", "before", box=None, header_style="dim")
    for fact in shown:
        period = fact["period"] or {"start": "", "end": ""}
        table.add_row(fact["id"], fact["value"], fact["unit"], period["start"], period["end"])
    console.print(table)
    for source in sorted({fact["source"] for fact in shown}):
        console.print(f"[dim]Source:[/] {escape(source)}")


def demo(run: DemoRun, settings: Settings) -> None:
    """Show a demonstration: request, reply, facts, timings, and what to try next."""
    console.print(f"  {run.imported.accepted} hours, {run.imported.first_day} .. {run.imported.last_day}")
    event("Request event, as published", run.request)
    event("Reply event, as received", run.reply)
    reply(run.reply)
    timings = ", ".join(f"{name} {seconds * 1000:.0f} ms" for name, seconds in run.timings_s.items())
    console.print(f"[dim]Timings:[/] {timings}")
    console.print(f"\nThe data are in {settings.data_dir}; try next:")
    for command in (
        'expert-bot ask "¿Cuánto consumí en agosto de 2026?" --user demo',
        'expert-bot ask "¿Qué tarifa me conviene más?" --user demo',
        "expert-bot import consumption FILE.csv --user me",
        "expert-bot serve",
    ):
        console.print(f"  [bold].venv/bin/{escape(command)}[/]", soft_wrap=True)


def imported(report: ImportReport) -> None:
    """Show what an import did, with each rejected row's line and reason."""
    console.print(
        f"{report.rows_read} rows read, {report.accepted} accepted ({report.inserted} new, {report.changed} changed, "
        f"{report.unchanged} unchanged), {len(report.rejected)} rejected"
    )
    if report.first_day:
        changed = "refreshed" if report.profile_changed else "unchanged"
        console.print(f"{report.first_day} .. {report.last_day}; profile {changed}")
    else:
        console.print("[bold red]nothing usable: nothing was stored[/]")
    for row in report.rejected[:MAX_REJECTED_SHOWN]:
        console.print(f"  line {row.line}: {escape(row.reason)}", soft_wrap=True)
    if len(report.rejected) > MAX_REJECTED_SHOWN:
        console.print(f"  ... and {len(report.rejected) - MAX_REJECTED_SHOWN} more; --json lists all")


def names(title: str, shown: list[str]) -> None:
    """Show a list of names on one line."""
    console.print(f"{title}: {', '.join(shown) or 'none'}", soft_wrap=True)


def exchange(request: CloudEvent, answer: CloudEvent) -> dict[str, Any]:
    """Return a request and its reply as JSON: context attributes and data of each."""
    return {"request": _event_json(request), "reply": _event_json(answer)}


def import_report(report: ImportReport) -> dict[str, Any]:
    """Return an import report as JSON."""
    return {
        "rows_read": report.rows_read,
        "accepted": report.accepted,
        "inserted": report.inserted,
        "changed": report.changed,
        "unchanged": report.unchanged,
        "rejected": [{"line": row.line, "reason": row.reason} for row in report.rejected],
        "first_day": report.first_day.isoformat() if report.first_day else None,
        "last_day": report.last_day.isoformat() if report.last_day else None,
        "profile_changed": report.profile_changed,
    }


def _event_json(shown: CloudEvent) -> dict[str, Any]:
    return {"attributes": context_attributes(shown), "data": json.loads(shown.data)}
