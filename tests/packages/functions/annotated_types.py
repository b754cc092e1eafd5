from typing import Annotated, get_type_hints

import annotated_types as at


class Reading:
    celsius: Annotated[float, at.Ge(-273.15), at.Lt(1000)]


def call() -> object:
    """Read the limits that a type carries."""
    hints = get_type_hints(Reading, include_extras=True)
    return [repr(one) for one in hints["celsius"].__metadata__], [repr(one) for one in at.Len(1, 3)]
