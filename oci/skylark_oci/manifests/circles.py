"""Find functions that start each other for ever."""

from collections.abc import Mapping, Sequence

from skylark_oci.manifests import names
from skylark_oci.manifests.config import EventsSection, FunctionSection


def answer_type(function: FunctionSection) -> str:
    """Return the type of the event that a function answers with."""
    return function.replies or names.reply_type(function.called)


def start_type(functions: Sequence[FunctionSection], function: FunctionSection) -> str | None:
    """Return the type of the events that start a function; None if no event does."""
    if function.after is None:
        return function.on_event
    return answer_type(next(one for one in functions if one.name == function.after))


def circle(functions: Sequence[FunctionSection], events: EventsSection) -> list[str] | None:
    """Return the names along a circle of functions, the first one again at its end; None if there is no circle.

    A function leads to those that its answer starts, and to the function of `dead_letter`, which gets its event where
    it fails.
    """
    started = {one.name: start_type(functions, one) for one in functions}
    leads = {
        one.name: [other for other, type_ in started.items() if type_ == answer_type(one)]
        + [name for name in started if name == events.dead_letter and started[one.name] is not None]
        for one in functions
    }
    done: set[str] = set()
    for name in leads:
        found = _circle_from(name, leads, done)
        if found is not None:
            return found
    return None


def _circle_from(first: str, leads: Mapping[str, Sequence[str]], done: set[str]) -> list[str] | None:
    """Walk depth first, without recursion: a chain may be longer than Python's stack."""
    path, open_ = [first], [iter(leads[first])]
    while path:
        following = next(open_[-1], None)
        if following is None:
            done.add(path.pop())
            open_.pop()
        elif following in path:
            return [*path[path.index(following) :], following]
        elif following not in done:
            path.append(following)
            open_.append(iter(leads[following]))
    return None
