from datetime import datetime

import isodate


def call() -> object:
    """Parse and add a duration, and parse a date of a week."""
    duration = isodate.parse_duration("P1M2DT3H")
    later = datetime(2024, 1, 30) + duration
    return later.isoformat(), isodate.duration_isoformat(duration), isodate.parse_date("2024-W09-5").isoformat()
