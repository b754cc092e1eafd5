"""What an experiment is: a YAML file with its workload, its variants, how often it runs, and what it is compared with.

Each workload knows its *cases* (what is varied along an axis of a plot) and its *variants* (what is compared within a
case, run interleaved).
"""

import itertools
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from skylark.plan import Plan
from skylark_proxy.errors import InvalidArgument
from skylark_proxy.json_paths import value_at
from skylark_proxy.model import Policy, parse_plan
from skylark_testbed.yaml_file import YamlFile, read_yaml

Value = str | int | float
Case = Mapping[str, Value]

Count = Annotated[int, Meta(ge=1, le=100_000)]
Positive = Annotated[float, Meta(gt=0)]
Name = Annotated[str, Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]
Several = Meta(min_length=1)


class Variant(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A way to place state, which the others are compared with.

    Attributes:
        name: What tables and plots call it.
        policy: The policy of the elections.
        planned: Whether the chain's plan is known, so that elections lead to the node of the next function. If not,
            they lead to the workload's destination.
        last_policy: The policy of the chain's last store, as the published experiment has it; None: `policy`.
    """

    name: Name
    policy: Policy
    planned: bool = False
    last_policy: Policy | None = None


class ChainWorkload(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all workloads of chains have.

    Attributes:
        testbeds: Description files by the name of the links that they emulate; relative to the experiment's file.
        chain: The functions and their nodes, in the order of the chain, as `FUNCTION@NODE,…`.
        input_at: Where the first function's state is.
        destination: Where elections lead that no plan names.
        variants: What is compared.
    """

    testbeds: Annotated[dict[str, str], Several]
    chain: str
    input_at: str
    destination: str
    variants: Annotated[list[Variant], Several]

    @property
    def plan(self) -> Plan:
        """The chain."""
        return parse_plan(self.chain, "workload.chain")

    def variant(self, name: str) -> Variant:
        """The variant of that name."""
        return next(variant for variant in self.variants if variant.name == name)

    def variant_names(self) -> tuple[str, ...]:
        """The names of the variants."""
        return tuple(variant.name for variant in self.variants)


class WorkflowWorkload(
    ChainWorkload, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="workflow"
):
    """One chain after the other.

    Attributes:
        sizes_mb: The sizes of the state, in 10^6 bytes.
        max_latency_ms: The published objective of each size.
        objectives: `published`: those; `corrected`: what they become by the formula that takes bits for bits; see
            `theory.corrected_max_latency_ms`.
    """

    sizes_mb: Annotated[list[Positive], Several]
    max_latency_ms: Annotated[list[Positive], Several]
    objectives: Annotated[list[Literal["published", "corrected"]], Several]

    def cases(self) -> Iterator[Case]:
        """Links, objectives and size; the published maximum latency goes with the size."""
        for links, objectives, number in itertools.product(self.testbeds, self.objectives, range(len(self.sizes_mb))):
            yield {"links": links, "objectives": objectives, "size_mb": self.sizes_mb[number]}

    def published_max_latency_ms(self, size_mb: float) -> float:
        """The published objective of a size."""
        return self.max_latency_ms[self.sizes_mb.index(size_mb)]


class ParallelWorkload(
    ChainWorkload, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="parallel"
):
    """Several chains at once.

    Attributes:
        at_once: How many.
        size_mb: The state of each.
        max_latency_ms: The objective.
    """

    at_once: Annotated[list[Count], Several]
    size_mb: Positive
    max_latency_ms: Positive

    def cases(self) -> Iterator[Case]:
        """Links and the number of chains."""
        for links, count in itertools.product(self.testbeds, self.at_once):
            yield {"links": links, "at_once": count}


class FaultsWorkload(
    ChainWorkload, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="faults"
):
    """One chain after the other, each with a fault.

    Attributes:
        faults: `none`; `cut`: the link `link` is cut while the function `during` runs, and healed after `heal_after_s`;
            `kill`: the node `node` is killed while it runs, and started again for the next run.
        size_mb: The state.
        max_latency_ms: The objective.
    """

    faults: Annotated[list[Literal["none", "cut", "kill"]], Several]
    link: Annotated[list[str], Meta(min_length=2, max_length=2)]
    node: str
    during: str
    heal_after_s: Positive
    size_mb: Positive
    max_latency_ms: Positive

    def cases(self) -> Iterator[Case]:
        """Links and the fault."""
        for links, fault in itertools.product(self.testbeds, self.faults):
            yield {"links": links, "fault": fault}


class FusionWorkload(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="fusion"
):
    """A chain of functions on one node, in one sandbox or each in its own."""

    depths: Annotated[list[Annotated[int, Meta(ge=1, le=5)]], Several]
    stores: Annotated[list[Literal["near", "far"]], Several]
    size_mb: Positive

    def cases(self) -> Iterator[Case]:
        """The store and the number of functions."""
        for store, depth in itertools.product(self.stores, self.depths):
            yield {"store": store, "depth": depth}

    def variant_names(self) -> tuple[str, ...]:
        """In one sandbox, or each in its own."""
        return ("fused", "single")


class ElectionWorkload(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="election"
):
    """Elections over random graphs in which each node has four links."""

    nodes: Annotated[list[Annotated[int, Meta(ge=3, le=65_536)]], Several]

    def cases(self) -> Iterator[Case]:
        """The number of nodes."""
        for nodes in self.nodes:
            yield {"nodes": nodes}

    def variant_names(self) -> tuple[str, ...]:
        """There is one."""
        return ("skylark",)


class RequestsWorkload(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, tag_field="kind", tag="requests"
):
    """Requests at `GET /storage-node` of one proxy, at a rate that does not depend on its answers."""

    nodes: Annotated[list[Annotated[int, Meta(ge=3, le=65_536)]], Several]
    rates_per_s: Annotated[list[Positive], Several]
    seconds: Positive

    def cases(self) -> Iterator[Case]:
        """The number of nodes and the rate."""
        for nodes, rate in itertools.product(self.nodes, self.rates_per_s):
            yield {"nodes": nodes, "rate_per_s": rate}

    def variant_names(self) -> tuple[str, ...]:
        """There is one."""
        return ("skylark",)


Workload = WorkflowWorkload | ParallelWorkload | FaultsWorkload | FusionWorkload | ElectionWorkload | RequestsWorkload


class Plot(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A plot: a metric over a factor, one line or bar for each variant.

    Attributes:
        name: The PNG's name, without its ending.
        kind: `lines`: medians with a band from the first to the third quartile; `bars`: medians with such whiskers;
            `parts`: where the time goes, one stacked bar for each variant.
        y: The metric; for `parts` there are several.
        x: The factor along the axis.
        where: The cases that are shown, by their other factors.
        published: Published figures by the factor's value, for a dashed line.
        caption: What a stranger has to know to read it.
    """

    name: Name
    title: str
    caption: str
    x: str
    y: str | list[str]
    kind: Literal["lines", "bars", "parts"] = "lines"
    where: dict[str, Value] = {}
    x_label: str = ""
    y_label: str = ""
    published: dict[int, float] = {}
    log_x: bool = False
    log_y: bool = False


class Comparison(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A published figure and what it is compared with.

    Attributes:
        what: The figure, in words.
        metric: What is measured.
        of: The variant.
        against: The variant that it is a change of, in per cent; None: the figure is the metric itself.
        where: The cases that count.
        published: The published figure, in `unit`.
        better: Whether a lower or a higher figure is the better one.
        note: What has to be known to compare the two.
    """

    what: str
    metric: str
    of: str
    against: str | None = None
    where: dict[str, Value] = {}
    published: float | None = None
    unit: str = "%"
    better: Literal["lower", "higher"] = "lower"
    note: str = ""


class Definition(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """An experiment.

    Attributes:
        name: What the command calls it.
        question: What it is to find out, in a sentence or two.
        method: How it is done, for the report.
        theory: What to expect, and why; for the report.
        workload: What is run.
        repeats: How often each variant of each case runs.
        warm_up: How many runs come first that do not count, in each test bed.
        seed: Of the order, the state's bytes and random elections.
        quick: What `--quick` replaces: `repeats`, `warm_up`, and fields of the workload.
    """

    name: Name
    title: str
    question: str
    method: str
    theory: str = ""
    workload: Workload
    repeats: Count
    warm_up: Annotated[int, Meta(ge=0, le=100)] = 1
    seed: int = 1
    quick: dict[str, Any] = {}
    plots: list[Plot] = []
    comparisons: list[Comparison] = []

    def cases(self) -> Sequence[Case]:
        """The cases, in order."""
        return tuple(self.workload.cases())


def load(path: Path, quick: bool = False) -> Definition:
    """Reads an experiment.

    Args:
        quick: Whether what the file's `quick` says is put in the place of the rest.

    Raises:
        DescriptionError: It cannot be read or is no experiment; the error names the file, the line and the field.
    """
    file = read_yaml(path)
    definition = _convert(file, file.content)
    shortened = _convert(file, _shortened(definition, file.content), definition.quick)
    for one in (definition, shortened):
        _check(file, one)
    return shortened if quick else definition


def testbed_path(path: Path, definition: Definition, links: str) -> Path:
    """The description file of these links, which the experiment in the file `path` names."""
    assert isinstance(definition.workload, ChainWorkload)
    return path.parent / definition.workload.testbeds[links]


def _shortened(definition: Definition, content: Any) -> Any:
    top = {name: value for name, value in definition.quick.items() if name in ("repeats", "warm_up")}
    workload = {name: value for name, value in definition.quick.items() if name not in top}
    return {**content, **top, "workload": {**content["workload"], **workload}}


_MSGSPEC = re.compile(r"^(?P<what>.*?)( - at `(key in )?\$\.?(?P<path>[^`]*)`)?$", re.DOTALL)
_MISSING = re.compile(r"Object missing required field `(?P<name>[^`]*)`")
_UNKNOWN = re.compile(r"Object contains unknown field `(?P<name>[^`]*)`")


def _convert(file: YamlFile, content: Any, quick: Collection[str] = ()) -> Definition:
    """msgspec's error as ours: where, which value, what was expected. `quick` are the fields that are from there."""
    try:
        return msgspec.convert(content, Definition)
    except msgspec.ValidationError as error:
        match = _MSGSPEC.match(str(error))
        assert match is not None  # the pattern matches any text
        path, what = match["path"] or "", match["what"]
        about = _MISSING.match(what) or _UNKNOWN.match(what)
        field = f"{path}.{about['name']}".lstrip(".") if about else path
        expected = "it: the field is missing" if _MISSING.match(what) else what.removeprefix("Expected ")
        if _UNKNOWN.match(what):
            expected = "no such field"
        value = value_at(content, field)
        own = field.removeprefix("workload.")
        if re.split(r"[.\[]", own)[0] in quick:
            field = f"quick.{own}"
        raise file.error(field, value, expected) from error


def _check(file: YamlFile, definition: Definition) -> None:
    workload = definition.workload
    if isinstance(workload, WorkflowWorkload) and len(workload.sizes_mb) != len(workload.max_latency_ms):
        expected = f"one for each of the {len(workload.sizes_mb)} sizes_mb"
        raise file.error("workload.max_latency_ms", len(workload.max_latency_ms), expected)
    if isinstance(workload, ChainWorkload):
        _check_chain(file, workload)
    names = workload.variant_names()
    if len(set(names)) != len(names):
        raise file.error("workload.variants", ", ".join(names), "each name once")
    factors = {name for case in definition.cases() for name in case}
    for number, plot in enumerate(definition.plots):
        if plot.x not in factors:
            raise file.error(f"plots[{number}].x", plot.x, f"one of {', '.join(sorted(factors))}")
        _check_where(file, f"plots[{number}].where", plot.where, factors)
    for number, comparison in enumerate(definition.comparisons):
        _check_where(file, f"comparisons[{number}].where", comparison.where, factors)
        for field, name in (("of", comparison.of), ("against", comparison.against)):
            if name is not None and name not in names:
                raise file.error(f"comparisons[{number}].{field}", name, f"one of {', '.join(names)}")


def _check_chain(file: YamlFile, workload: ChainWorkload) -> None:
    try:
        plan = workload.plan
    except InvalidArgument as error:
        raise file.error("workload.chain", error.value, error.expected) from error
    if any(step.node is None for step in plan.steps):
        raise file.error("workload.chain", workload.chain, "a node for each function")
    for links, name in workload.testbeds.items():
        if not (file.path.parent / name).is_file():
            raise file.error(f"workload.testbeds.{links}", name, "a description file of a test bed")


def _check_where(file: YamlFile, field: str, where: Mapping[str, Value], factors: set[str]) -> None:
    for name in where:
        if name not in factors:
            raise file.error(f"{field}.{name}", name, f"one of {', '.join(sorted(factors))}")
