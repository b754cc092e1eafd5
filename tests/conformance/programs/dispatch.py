"""Runs one program of the suite by its name: `python -m conformance.programs.dispatch NAME ARGUMENT …`."""

import importlib
import sys
import traceback


def run(arguments: list[str]) -> int:
    """Runs `main` of the module named by the first argument.

    Returns:
        The exit code that CPython would give: what the program asked for, 1 after an exception.
    """
    try:
        result = importlib.import_module(f"conformance.programs.{arguments[0]}").main(arguments[1:])
        return _code(result)
    except SystemExit as exit_:
        return _code(exit_.code)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _code(code: object) -> int:
    if code is None or isinstance(code, int):
        return code or 0
    print(code, file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(run(sys.argv[1:]))
