"""The meaning of texts in a table: gaps, numbers, true or false, dates."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from datetime import datetime, timezone

# Texts, in letters of any case, that are gaps in every column; and those that are gaps in columns
# of numbers or dates, but may be a category.
GAPS = frozenset(("", "na", "n/a", "#n/a", "nan", "null", "<na>", "?"))
GAPS_OF_NUMBERS = GAPS | {"none", "-", "--", "nil", "."}
TRUE = frozenset(("true", "yes", "t", "y", "on", "1"))
FALSE = frozenset(("false", "no", "f", "n", "off", "0"))
PAIRS = [{"true", "false"}, {"yes", "no"}, {"t", "f"}, {"y", "n"}, {"on", "off"}]
DECIMAL_COMMA = re.compile(r"[+-]?(\d+|\d{1,3}(\.\d{3})+)?(,\d+)?([eE][+-]?\d+)?")
THOUSANDS = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")


def is_gap(text: str | None, words: frozenset[str] = GAPS) -> bool:
    """Whether a text stands for a missing value, by these `words`."""
    return text is None or text.strip().lower() in words


def number(text: str) -> float | None:
    """Return the number that Python reads, which may be infinite; None for anything else."""
    try:
        return None if "_" in text else float(text)
    except ValueError:
        return None


def comma_number(text: str) -> float | None:
    """Return the number of a text with a decimal comma, such as ``1.234,5``."""
    text = text.strip()
    if not DECIMAL_COMMA.fullmatch(text):
        return None
    return number(text.replace(".", "").replace(",", "."))


def thousands_number(text: str) -> float | None:
    """Return the number of a text that may have commas between thousands: ``1,234.5``."""
    return number(text.replace(",", "") if THOUSANDS.fullmatch(text.strip()) else text)


FORMS: dict[str, Callable[[str], float | None]] = {
    "1.5": number,
    "1,5": comma_number,
    "1,000.5": thousands_number,
}
"""Forms of numbers, by an example."""


def form_of_numbers(texts: Iterable[str], comma: bool) -> str | None:
    """Return the form in `FORMS` in which all `texts` are numbers, or None.

    With `comma`, a decimal comma is tried instead of commas between thousands.
    """
    found = list(texts)
    for form in ("1.5", "1,5" if comma else "1,000.5"):
        if all(FORMS[form](text) is not None for text in found):
            return form
    return None


# The order in which days and months are tried. ISO comes first, and months before days.
DATES = (
    *("%Y-%m-%d", "%Y/%m/%d", "%d.%m.%Y", "%m/%d/%Y", "%d/%m/%Y", "%m-%d-%Y", "%d-%m-%Y"),
    *("%d %b %Y", "%d-%b-%Y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
ISO = "ISO"
EPOCH = datetime(1970, 1, 1)
DAY = 86400.0


def form_of_dates(texts: Iterable[str]) -> str | None:
    """Return the form in which all `texts` are dates: `ISO`, one of ``strptime``, or None."""
    found = [text.strip() for text in texts]
    if not found or not all(8 <= len(text) <= 40 and text[-1:].isalnum() for text in found):
        return None
    for form in (ISO, *(date + time for date in DATES for time in TIMES)):
        if all(days(text, form) is not None for text in found):
            return form
    return None


def days(text: str, form: str) -> float | None:
    """Return the days since 1970 of a date in this form, in UTC; None if it is no such date."""
    text = text.strip()
    try:
        if form == ISO:
            if not re.match(r"\d{4}-\d\d", text):
                return None
            date = datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        else:
            date = datetime.strptime(text, form)
    except ValueError:
        return None
    if date.tzinfo is not None:
        date = date.astimezone(timezone.utc).replace(tzinfo=None)
    return (date - EPOCH).total_seconds() / DAY


def category(text: str) -> str:
    """Return the name of a text's category: without outer blanks, and 3 for ``3.0``."""
    text = text.strip()
    whole = text[:-2] if text.endswith(".0") else text
    return whole if whole.lstrip("-").isdecimal() else text


def category_of_number(value: float) -> str:
    """Return the name of the category that a number stands for, as a file would write it."""
    return str(int(value)) if math.isfinite(value) and value == int(value) else repr(float(value))
