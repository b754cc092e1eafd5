"""Experiments' files: what they say, and what their errors name."""

from pathlib import Path

import pytest

from experiment_files import ELECTION, EXAMPLES, example, write
from skylark_testbed.errors import DescriptionError
from skylark_testbed.experiments.catalogue import known
from skylark_testbed.experiments.definition import ElectionWorkload, WorkflowWorkload, load


@pytest.mark.parametrize("name", sorted(known()))
def test_the_examples_are_valid(name: str) -> None:
    """Each experiment that comes with Skylark is valid, has the name of its file, and runs less when it is quick."""
    full, quick = load(known()[name]), load(known()[name], quick=True)
    assert full.name == name
    assert 0 < len(quick.cases()) * quick.repeats < len(full.cases()) * full.repeats


@pytest.mark.parametrize("name", sorted(known()))
def test_plots_explain_themselves(name: str) -> None:
    """Every plot has a caption of a sentence or more, and no two have one name."""
    plots = example(name).plots
    assert plots
    assert all(len(plot.caption.split()) >= 8 and plot.caption.endswith(".") for plot in plots)
    assert len({plot.name for plot in plots}) == len(plots)


def test_quick_replaces_what_it_names(tmp_path: Path) -> None:
    """`quick` stands for the workload's fields and the repeats that it names, and for nothing else."""
    quick = load(write(tmp_path), quick=True)
    assert quick.workload == ElectionWorkload(nodes=[3])
    assert (quick.repeats, quick.warm_up) == (1, 0)
    assert load(write(tmp_path)).workload == ElectionWorkload(nodes=[3, 5])


def test_the_published_objectives_belong_to_sizes() -> None:
    """Each size has the maximum latency that was published with it."""
    workload = example("workflow").workload
    assert isinstance(workload, WorkflowWorkload)
    assert [workload.published_max_latency_ms(size) for size in (1, 10, 50)] == [100, 200, 710]


@pytest.mark.parametrize(
    ("old", "new", "line", "field"),
    [
        ("repeats: 3", "repeats: 0", 5, "repeats"),
        ("repeats: 3", "repeats: often", 5, "repeats"),
        ("nodes: [3, 5]", "nodes: [3, 2]", 9, "workload.nodes"),
        ("nodes: [3, 5]", "nodes: [3, 5]\n      nodse: 1", 10, "workload.nodse"),
        ("kind: election", "kind: elections", 8, "workload.kind"),
        ("question: How long?", "answer: 42", 3, "answer"),
        ("nodes: [3]", "nodes: []", 12, "quick.nodes"),
        ("x: nodes", "x: hosts", 14, "plots[0].x"),
        ("of: skylark", "of: skylrak", 16, "comparisons[0].of"),
        ("where: {nodes: 3}", "where: {hosts: 3}", 16, "comparisons[0].where.hosts"),
        ("repeats: 3", "repeats: 3\n    repeats: 4", 6, "repeats"),
        ("kind: election", "kind: [", 10, "YAML"),
    ],
)
def test_errors_name_line_and_field(tmp_path: Path, old: str, new: str, line: int, field: str) -> None:
    """A file that is not valid gets an error with its name, the line and the field."""
    text = ELECTION.replace(old, new, 1)
    assert text != ELECTION
    path = write(tmp_path, text)
    with pytest.raises(DescriptionError) as caught:
        load(path)
    assert caught.value.message.startswith(f"{path}:{line}: "), caught.value.message
    assert field in caught.value.message


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("stage3@pi4u6", "stage3", "workload.chain"),
        ("stage2@pi5u4", "stage1@pi5u4", "workload.chain"),
        ("constellation-stated.yaml", "nowhere.yaml", "workload.testbeds.stated"),
        ("[1, 5, 10, 15,", "[1, 5, 10,", "workload.max_latency_ms"),
        ("name: random, policy: random", "name: skylark, policy: random", "workload.variants"),
        ("policy: random", "policy: rnadom", "workload.variants[3].policy"),
    ],
)
def test_errors_of_chains(tmp_path: Path, old: str, new: str, field: str) -> None:
    """What only makes sense together is checked too, with the field."""
    text = (EXAMPLES / "experiments" / "workflow.yaml").read_text()
    assert old in text
    text = text.replace(old, new, 1).replace("../testbeds/", f"{EXAMPLES}/testbeds/")
    path = tmp_path / "workflow.yaml"
    path.write_text(text)
    with pytest.raises(DescriptionError, match=rf"workflow\.yaml:\d+: {field.replace('[', '.').replace(']', '.')}"):
        load(path)
