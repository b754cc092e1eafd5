from sortedcontainers import SortedDict, SortedList, SortedSet


def call() -> object:
    """Keep values in order."""
    numbers = SortedList([5, 1, 3])
    numbers.add(2)
    return list(numbers), numbers.bisect(3), list(SortedDict(b=1, a=2)), list(SortedSet("cab") & set("ab"))
