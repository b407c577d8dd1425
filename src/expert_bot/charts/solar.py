"""Charts of panels: what each size saves and how long it takes to pay back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expert_bot.charts.png import new_figure
from expert_bot.energy.analyses.sun.solar import SolarStudy

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_solar(study: SolarStudy) -> Figure:
    """Draw energy and saving per year over the size. Raises UsageError where matplotlib is not installed."""
    figure = new_figure(width_in=11.0, height_in=4.5)
    energy, money = figure.subplots(1, 2)
    sizes = [float(size.size_kwp) for size in study.sizes]
    used = [int(size.flows.self_used_kwh) for size in study.sizes]
    surplus = [int(size.flows.surplus_kwh) for size in study.sizes]
    energy.stackplot(sizes, used, surplus, labels=["used at once", "surplus"], colors=["#2a7ab0", "#f0c050"])
    energy.set(xlabel="kWp", ylabel="kWh a year", title=f"Energy made in {study.roof.province.name}")
    energy.legend(loc="upper left")
    money.fill_between(
        sizes,
        [float(size.saving_eur_low) for size in study.sizes],
        [float(size.saving_eur_high) for size in study.sizes],
        alpha=0.3,
        color="#2a7ab0",
        label="range",
    )
    money.plot(sizes, [float(size.saving_eur) for size in study.sizes], color="#2a7ab0", label="usual year")
    if study.best is not None:
        money.axvline(float(study.best.size_kwp), color="#d05030", linestyle="--", label="best size")
    money.set(xlabel="kWp", ylabel="EUR a year", title="Saving, taxes in", ylim=(0, None))
    money.legend(loc="lower right")
    return figure
