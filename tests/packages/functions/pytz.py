from datetime import datetime

import pytz


def call() -> object:
    """Convert a time to a zone, on both sides of a change of the clock."""
    berlin = pytz.timezone("Europe/Berlin")
    times = [pytz.utc.localize(datetime(2024, month, 31)).astimezone(berlin) for month in (1, 7)]
    return [time.isoformat() for time in times], berlin.normalize(times[0]).tzname()
