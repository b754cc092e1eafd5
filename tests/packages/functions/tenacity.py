from tenacity import RetryError, Retrying, stop_after_attempt, wait_none


def call() -> object:
    """Retry until it works, and give up."""
    failures = iter([OSError("one"), OSError("two"), None])

    def work() -> str:
        error = next(failures)
        if error:
            raise error
        return "done"

    retrying = Retrying(stop=stop_after_attempt(3), wait=wait_none())
    try:
        Retrying(stop=stop_after_attempt(2), wait=wait_none())(int, "x")
    except RetryError as error:
        given_up = error.last_attempt.attempt_number
    return retrying(work), retrying.statistics["attempt_number"], given_up
