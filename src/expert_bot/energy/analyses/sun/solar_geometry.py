"""Where the sun stands, and how much of it a tilted plane sees: an average year, by the hour, without weather.

Formulas: declination and equation of time by Spencer (1971), global irradiation of a clear sky by Haurwitz (1945), an
isotropic sky for the diffuse part and a ground that reflects a fifth (Liu and Jordan, 1960).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from expert_bot.energy.curve import Floats

DAYS: Final = 366
"""Days of a leap year: the tables of this module have a row for 29 February."""

HOURS: Final = 24
_STEPS_AN_HOUR: Final = 4
CLEAR_DIFFUSE: Final = 0.12
"""Diffuse part of the horizontal irradiation of a clear day."""

YEAR_DIFFUSE: Final = 0.35
"""Diffuse part of a year's horizontal irradiation in Spain: about a third, less in the south than in the north."""

_ALBEDO: Final = 0.2
_LOWEST_SUN: Final = 1e-3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """Panels at a place, in degrees.

    `latitude_deg` north, `longitude_deg` east, `tilt_deg` 0 flat .. 90 wall, `azimuth_deg` 0 south, 90 west, -90 east.
    """

    latitude_deg: float
    longitude_deg: float
    tilt_deg: float
    azimuth_deg: float


def irradiation_kwh_per_m2(plane: Plane, *, diffuse_share: float) -> Floats:
    """Return a plane's irradiation with the energy of clear days, kWh/m2, shape (366 days, 24 UTC hours by START).

    `diffuse_share`: part of the horizontal irradiation that comes from the whole sky instead of straight from the sun.
    """
    days = np.arange(DAYS)[:, np.newaxis]
    hours = (np.arange(HOURS * _STEPS_AN_HOUR) + 0.5) / _STEPS_AN_HOUR
    year_angle = 2 * np.pi * (days + hours / HOURS) / 365.25
    declination = _declination(year_angle)
    solar_hours = hours + plane.longitude_deg / 15 + _equation_of_time_h(year_angle)
    hour_angle = np.radians(15 * (solar_hours - 12))
    latitude = np.radians(plane.latitude_deg)
    cos_zenith = np.sin(latitude) * np.sin(declination) + np.cos(latitude) * np.cos(declination) * np.cos(
        hour_angle
    )
    global_per_cosine = _clear_sky_kw_per_m2(cos_zenith)
    horizontal = global_per_cosine * np.maximum(cos_zenith, 0.0)
    direct = (
        (1 - diffuse_share)
        * global_per_cosine
        * np.maximum(_cos_incidence(plane, declination, hour_angle), 0.0)
    )
    cos_tilt = np.cos(np.radians(plane.tilt_deg))
    from_sky = diffuse_share * horizontal * (1 + cos_tilt) / 2
    from_ground = _ALBEDO * horizontal * (1 - cos_tilt) / 2
    on_plane = direct + from_sky + from_ground
    hourly: Floats = on_plane.reshape(DAYS, HOURS, _STEPS_AN_HOUR).mean(axis=2)
    return hourly


def _declination(year_angle: Floats) -> Floats:
    return (
        0.006918
        - 0.399912 * np.cos(year_angle)
        + 0.070257 * np.sin(year_angle)
        - 0.006758 * np.cos(2 * year_angle)
        + 0.000907 * np.sin(2 * year_angle)
    )


def _equation_of_time_h(year_angle: Floats) -> Floats:
    minutes = 229.18 * (
        0.000075
        + 0.001868 * np.cos(year_angle)
        - 0.032077 * np.sin(year_angle)
        - 0.014615 * np.cos(2 * year_angle)
        - 0.040849 * np.sin(2 * year_angle)
    )
    return minutes / 60


def _clear_sky_kw_per_m2(cos_zenith: Floats) -> Floats:
    """Return the global irradiance of a clear sky over the cosine of the zenith angle; 0 while the sun is down."""
    above = np.maximum(cos_zenith, _LOWEST_SUN)
    return np.where(cos_zenith > 0, 1.098 * np.exp(-0.057 / above), 0.0)


def _cos_incidence(plane: Plane, declination: Floats, hour_angle: Floats) -> Floats:
    """Return the cosine of the angle between sun and panel normal (Duffie and Beckman, eq. 1.6.2)."""
    latitude, tilt, azimuth = np.radians((plane.latitude_deg, plane.tilt_deg, plane.azimuth_deg))
    constant = np.sin(latitude) * np.cos(tilt) - np.cos(latitude) * np.sin(tilt) * np.cos(azimuth)
    noon = np.cos(latitude) * np.cos(tilt) + np.sin(latitude) * np.sin(tilt) * np.cos(azimuth)
    side = np.sin(tilt) * np.sin(azimuth)
    cosine: Floats = np.sin(declination) * constant + np.cos(declination) * (
        noon * np.cos(hour_angle) + side * np.sin(hour_angle)
    )
    return cosine
