from datetime import datetime

from dateutil.parser import parse
from dateutil.relativedelta import relativedelta
from dateutil.rrule import WEEKLY, rrule


def call() -> object:
    """Parse a date as people write it, add a month, and expand a rule."""
    moment = parse("Thu, 25 Sep 2003 10:49:41.123 -0300")
    end_of_month = datetime(2024, 1, 31) + relativedelta(months=1)
    weeks = rrule(WEEKLY, count=3, dtstart=datetime(2024, 2, 26))
    return moment.isoformat(), end_of_month.isoformat(), [week.isoformat() for week in weeks]
