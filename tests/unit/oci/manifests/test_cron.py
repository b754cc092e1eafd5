"""Cron schedules as Knative takes them."""

import pytest

from skylark_oci.manifests.cron import expected_schedule


@pytest.mark.parametrize(
    "schedule",
    [
        "* * * * *",
        "*/5 * * * *",
        "0 0 1 1 0",
        "59 23 31 12 6",
        "1,2,30-40/5 8-18 * * MON-FRI",
        "5/15 ? ? JAN,jul *",
        "0\t6  * * sun",
        "@hourly",
        "@midnight",
        "@annually",
        "CRON_TZ=Europe/Vienna 0 6 * * *",
        "TZ=UTC @daily",
    ],
)
def test_what_knative_accepts(schedule: str) -> None:
    """Fields, names, steps, descriptors and time zones."""
    assert expected_schedule(schedule) is None


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("", "five parts"),
        ("daily", "five parts"),
        ("* * * *", "it has 4"),
        ("0 * * * * *", "it has 6"),
        ("61 * * * *", "minutes from 0 to 59 as the first part, not '61'"),
        ("a b c d e", "minutes"),
        ("* 24 * * *", "hours from 0 to 23 as the second part"),
        ("* * 0 * *", "days of the month from 1 to 31 as the third part"),
        ("* * * 13 *", "months from 1 to 12 or JAN, FEB"),
        ("* * * * 7", "days of the week from 0 to 6 or SUN, MON"),
        ("* * * MON *", "months"),
        ("5-1 * * * *", "minutes"),
        ("*/0 * * * *", "minutes"),
        ("1/2/3 * * * *", "minutes"),
        ("1-2-3 * * * *", "minutes"),
        ("-1 * * * *", "minutes"),
        ("1_0 * * * *", "minutes"),
        (", * * * *", "minutes"),
        ("@Hourly", "@hourly"),
        ("@reboot", "@hourly"),
        ("@every 1h", "no @every"),
        ("CRON_TZ=Europe/Nowhere 0 6 * * *", "Europe/Nowhere"),
        ("CRON_TZ=../etc/passwd 0 6 * * *", "../etc/passwd"),
        ("TZ=Europe/Vienna", "a time zone, a space and a schedule"),
        ("TZ=UTC 61 * * * *", "minutes"),
    ],
)
def test_what_knative_refuses(schedule: str, expected: str) -> None:
    """The part that is wrong is named, with what is right there."""
    assert expected in str(expected_schedule(schedule))
