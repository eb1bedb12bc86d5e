"""Tools of a bicycle workshop with three branches: what a user brings."""

from __future__ import annotations

import re
from datetime import date
from typing import Literal

Service = Literal["tune-up", "puncture", "brakes", "wheel truing"]
Branch = Literal["Harbour", "Old Town", "Station"]


def find_slot(service: Service, day: date, branch: Branch = "Harbour") -> list[str]:
    """Find the free times for a repair on one day.

    Args:
        service: the repair that is wanted
        day: the day, as YYYY-MM-DD
        branch: the workshop to look in
    """
    opened = date.fromisoformat(str(day)).day % 3
    return [f"{hour:02}:00" for hour in range(9 + opened, 17, 2)]


def book_repair(
    customer: str,
    service: Service,
    day: date,
    time: str,
    branch: Branch = "Harbour",
    loan_bike: bool = False,
) -> str:
    """Book a repair for a customer and return its reference.

    Args:
        customer: first and last name of the customer
        service: the repair that is wanted
        day: the day, as YYYY-MM-DD
        time: the time, as HH:MM
        branch: the workshop that does it
        loan_bike: whether the customer takes a bicycle on loan meanwhile
    """
    day_of_year = date.fromisoformat(str(day)).timetuple().tm_yday
    if not re.fullmatch(r"[0-2]\d:[0-5]\d", time):
        raise ValueError(f"time={time!r}; write HH:MM")
    return f"R-{1000 + day_of_year * 7 + len(customer)}"


def repair_status(reference: str, notify_by: Literal["none", "sms", "e-mail"] = "none") -> str:
    """Say how far a repair is, and tell the customer when it is ready.

    Args:
        reference: the reference of the repair, R- and four digits, for example R-2417
        notify_by: how the customer is told when it is ready
    """
    if not re.fullmatch(r"R-\d{4}", reference):
        raise ValueError(f"reference={reference!r}; write R- and four digits")
    return ("waiting", "in work", "ready")[int(reference[2:]) % 3]
