"""A chain's plan: which functions it will run, and where. It travels with the chain's bundles."""

from dataclasses import dataclass

from skylark.names import is_name

EXPECTED = "FUNCTION@NODE,FUNCTION@NODE,… in the order of the chain, each function once; @NODE may be missing"

MAX_LENGTH = 4096


@dataclass(frozen=True)
class Step:
    """A function of a plan, and the node that will run it (None: not known yet)."""

    function: str
    node: str | None = None


@dataclass(frozen=True)
class Plan:
    """What a chain will run, and where: `preprocess@sat1,detect@sat2,alarm`."""

    steps: tuple[Step, ...]

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """Reads a plan.

        Raises:
            ValueError: It is none, or names a function twice.
        """
        parts = [part.split("@") for part in text.split(",")] if len(text) <= MAX_LENGTH else []
        if not parts or any(len(part) > 2 or not all(map(is_name, part)) for part in parts):
            raise ValueError(f"{text[:MAX_LENGTH]!r} is no plan; expected {EXPECTED}")
        if len({part[0] for part in parts}) != len(parts):
            raise ValueError(f"{text!r} names a function twice; expected {EXPECTED}")
        return cls(tuple(Step(part[0], part[1] if len(part) > 1 else None) for part in parts))

    def after(self, function: str) -> tuple[Step, ...]:
        """The steps that follow a function; none where it is the last, or not in the plan."""
        names = [step.function for step in self.steps]
        return self.steps[names.index(function) + 1 :] if function in names else ()

    def __str__(self) -> str:
        return ",".join(step.function + (f"@{step.node}" if step.node else "") for step in self.steps)
