"""Retry-After as RFC 9110, 10.2.3 has it: whatever a server sends, seconds that can be waited, or None."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from oo._core.errors import retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=timezone.utc)
YEAR = 365 * 86400
DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split()
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()


@pytest.fixture(scope="module", params=["UTC0", "JST-9", "EST5EDT"])
def zone(request: pytest.FixtureRequest) -> Iterator[str]:
    """This machine's time zone, which no date of HTTP is in."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TZ", request.param)
        time.tzset()
        yield request.param
    time.tzset()


def forms(at: datetime) -> list[str]:
    """The three ways of HTTP to write a date (RFC 9110, 5.6.7)."""
    day, month, clock = DAYS[at.weekday()], MONTHS[at.month - 1], f"{at:%H:%M:%S}"
    return [
        f"{day[:3]}, {at.day:02} {month} {at.year:04} {clock} GMT",
        f"{day}, {at.day:02}-{month}-{at.year % 100:02} {clock} GMT",
        f"{day[:3]} {month} {at.day:2} {clock} {at.year:04}",
    ]


# A year of two digits says which it is within fifty years alone.
@pytest.mark.skipif(not hasattr(time, "tzset"), reason="needs a zone that can be set")
@given(st.integers(-49 * YEAR, 33 * YEAR))
@example(YEAR // 3)  # summer
def test_each_form_of_a_date_means_the_same_in_every_zone(zone: str, seconds: int) -> None:
    assert [retry_after(form, NOW.timestamp()) for form in forms(NOW + timedelta(seconds=seconds))] == [
        max(0, seconds)
    ] * 3


@given(st.integers(0, 10**15 - 1))
def test_seconds_are_as_given(seconds: int) -> None:
    assert retry_after(str(seconds)) == retry_after(f" {seconds:015} \t") == seconds


# What looks like seconds or a date gets further in than any text.
NEARLY = st.text(st.sampled_from("0123456789+-:., eEJanSuFbGMTZ"), max_size=40)
DATES = st.builds(
    lambda form, parts: form.format(*parts),
    st.sampled_from(["Sun, {} Nov {} {}:{}:{} GMT", "Sunday, {}-Nov-{} {}:{}:{} GMT", "Sun Nov {1} {2}:{3}:{4} {0}"]),
    st.tuples(*[st.integers(-(10**20), 10**20) | st.integers(0, 60)] * 5),
)
ZONES = st.integers(0, 10**9).map(lambda zone: f"Fri, 31 Dec 9999 23:59:59 -{zone:04}")


@given(st.text() | st.binary().map(lambda data: data.decode("latin-1")) | NEARLY | DATES | ZONES)
@example("1e999")
@example("-1")
@example("-0")
@example("nan")
@example("Infinity")
@example("9" * 5000)
@example("0." + "1" * 5000)
@example("٣")
@example("5, 5")
@example("Mon, 01 Jan 0001 00:00:00 GMT")
@example("Mon, 01 Jan 0001 00:00:00 +2359")
@example("Fri, 31 Dec 9999 23:59:59 -2359")
@example("Fri, 31 Dec 99999 23:59:59 GMT")
@example("Sun, 00 Nov 2026 00:00:00 GMT")
def test_any_text_is_seconds_that_can_be_waited_or_none(value: str) -> None:
    for now in (None, 0.0, NOW.timestamp()):
        seconds = retry_after(value, now)
        assert seconds is None or (math.isfinite(seconds) and seconds >= 0)


@pytest.mark.parametrize("value", [None, "", "soon", "-1", "-0", "nan", "1e3", "٣", "5, 5", "1.", ".5", "9" * 5000])
def test_garbage_is_none(value: str | None) -> None:
    assert retry_after(value) is None


@pytest.mark.parametrize("value", forms(datetime(1969, 1, 5, tzinfo=timezone.utc)))
def test_the_far_past_is_no_wait(value: str) -> None:
    assert retry_after(value) == 0


def test_the_far_future_is_a_long_wait() -> None:
    years = (retry_after("Fri, 31 Dec 9999 23:59:59 GMT", NOW.timestamp()) or 0) / YEAR
    assert 7973 < years < 7980
