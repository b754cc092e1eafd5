from datetime import datetime
from zoneinfo import ZoneInfo

import tzdata


def call() -> object:
    """Convert a time to a zone with the standard library."""
    zone = ZoneInfo("America/St_Johns")
    return datetime(2024, 7, 1, 12, tzinfo=zone).isoformat(), zone.key, len(tzdata.IANA_VERSION)
