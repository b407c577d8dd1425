"""What people see on the terminal: events, replies, reports. `exchange` and `import_report` are the stable JSON forms."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any, Final

from rich.console import Console
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table

from expert_bot.config import Settings
from expert_bot.deadletters.reading import MAX_LISTED
from expert_bot.deadletters.record import DeadLetterRecord, LetterFacts
from expert_bot.demo import DemoRun
from expert_bot.ingest import ImportReport
from expert_bot.schemas.envelope import CloudEvent, context_attributes, format_timestamp

MAX_REJECTED_SHOWN: Final = 20
MAX_TEXT_SHOWN: Final = 4000
Present = Callable[[CloudEvent], None]

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
    """Show a chat reply's text and the facts behind it."""
    data = json.loads(shown.data)
    console.print(Panel(escape(data["response"]), title="Answer", title_align="left", border_style="green"))
    facts(data["facts"])
    for question in data["suggestions"]:
        console.print(f"[dim]You could ask:[/] {escape(question)}")


def problem(shown: CloudEvent) -> None:
    """Show why a request failed."""
    data = json.loads(shown.data)
    console.print(
        f"[bold red]{escape(data['title'])}[/]: {escape(data['detail'])} ({escape(data['reason'])})"
    )


def processed(shown: CloudEvent) -> None:
    """Show what was read from a document."""
    data = json.loads(shown.data)
    days = f", {data['first_day']} .. {data['last_day']}" if data["first_day"] else ""
    console.print(
        f"{data['layout']}: {data['rows_accepted']} of {data['rows_read']} rows used{days}, "
        f"{data['energy_kwh']} kWh; {data['hours_inserted']} hours new, {data['hours_changed']} changed"
    )
    for row in data["rejected"][:MAX_REJECTED_SHOWN]:
        console.print(f"[yellow]line {row['line']}[/]: {escape(row['reason'])}")
    for note in data["notes"]:
        console.print(f"[yellow]note[/]: {escape(note)}")
    for name in data["also_read"]:
        console.print(f"also read: {escape(name.replace('_', ' '))}")


def analysed(shown: CloudEvent) -> None:
    """Show an analysis's result and the facts behind it."""
    data = json.loads(shown.data)
    if data["status"] != "success":
        console.print(f"[yellow]{escape(data['kind'])}[/]: {escape(data['result']['reason'])}")
        return
    text = escape(json.dumps(data["result"], ensure_ascii=False, indent=2))
    console.print(Panel(text, title=data["kind"], title_align="left"))
    facts(data["facts"])


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
    elif report.also_read:
        told = " and ".join(name.replace("_", " ") for name in report.also_read)
        console.print(f"{told} read; profile {'refreshed' if report.profile_changed else 'unchanged'}")
    else:
        console.print("[bold red]nothing usable: nothing was stored[/]")
    for note in report.notes:
        console.print(f"  note: {escape(note)}", soft_wrap=True)
    for row in report.rejected[:MAX_REJECTED_SHOWN]:
        console.print(f"  line {row.line}: {escape(row.reason)}", soft_wrap=True)
    if len(report.rejected) > MAX_REJECTED_SHOWN:
        console.print(f"  ... and {len(report.rejected) - MAX_REJECTED_SHOWN} more; --json lists all")


def names(title: str, shown: list[str]) -> None:
    """Show a list of names on one line."""
    console.print(f"{title}: {', '.join(shown) or 'none'}", soft_wrap=True)


def letters(shown: Sequence[LetterFacts]) -> None:
    """Show dead letters as a table, one line each."""
    if not shown:
        console.print("no dead letters")
        return
    table = Table(
        "id", "archived", "reason", "handler", "event", "tries", "cause", box=None, header_style="dim"
    )
    for facts in shown:
        table.add_row(
            facts.id,
            f"{facts.archived_at:%Y-%m-%d %H:%M:%S}",
            *map(_printable, (facts.reason, facts.handler, facts.event_type)),
            str(facts.attempts),
            facts.fingerprint,
        )
    console.print(table)
    if len(shown) == MAX_LISTED:
        console.print(f"[yellow]there may be more than {MAX_LISTED}: narrow them down with --reason[/]")


def letter(shown: DeadLetterRecord, *, reveal: bool) -> None:
    """Show a dead letter; its attributes' values and its data only if they are to be revealed."""
    for name, value in _letter_facts_json(shown.facts).items():
        if value not in ("", None):
            console.print(f"[dim]{name}:[/] {_printable(str(value))}", soft_wrap=True)
    for name, text in shown.attributes.items():
        value = _printable(text) if reveal else "[dim]hidden[/]"
        console.print(f"[dim]attribute[/] {_printable(name)}: {value}", soft_wrap=True)
    if not reveal:
        console.print(
            "Data and values are hidden: they may be about a person. --reveal shows them, and is recorded."
        )
        return
    text = shown.data.decode("utf-8", "backslashreplace")
    more = f"\n... {len(text) - MAX_TEXT_SHOWN} more characters; --json has all" * (
        len(text) > MAX_TEXT_SHOWN
    )
    console.print(Panel(_printable(text[:MAX_TEXT_SHOWN]) + more, title="Data", title_align="left"))


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
        "also_read": list(report.also_read),
        "notes": list(report.notes),
        "first_day": report.first_day.isoformat() if report.first_day else None,
        "last_day": report.last_day.isoformat() if report.last_day else None,
        "profile_changed": report.profile_changed,
    }


def letters_report(shown: Sequence[LetterFacts]) -> dict[str, Any]:
    """Return dead letters as JSON; `complete` is false if there may be more."""
    return {"letters": [_letter_facts_json(facts) for facts in shown], "complete": len(shown) < MAX_LISTED}


def letter_report(shown: DeadLetterRecord, *, reveal: bool) -> dict[str, Any]:
    """Return a dead letter as JSON; attributes' values and data are null unless they are to be revealed."""
    return {
        **_letter_facts_json(shown.facts),
        "attributes": {name: text if reveal else None for name, text in shown.attributes.items()},
        "data_base64": base64.b64encode(shown.data).decode("ascii") if reveal else None,
    }


def _letter_facts_json(facts: LetterFacts) -> dict[str, Any]:
    return {
        name: format_timestamp(value) if isinstance(value, datetime) else value
        for name, value in asdict(facts).items()
    }


def _printable(text: str) -> str:
    """Return a stranger's text so that it can neither steer the terminal nor be taken for markup."""
    return escape(
        "".join(
            char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text
        )
    )


def _event_json(shown: CloudEvent) -> dict[str, Any]:
    return {"attributes": context_attributes(shown), "data": json.loads(shown.data)}
