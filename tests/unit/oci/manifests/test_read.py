"""`skylark.yaml`: what is read of it, and the errors that name what is wrong in it."""

from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clusters import FULL, SMALL, cluster_of
from skylark_oci.manifests import InvalidConfig, parse_config, read_config
from skylark_oci.manifests.config import Distribution, Run, Tier
from skylark_oci.manifests.read import MAX_EVENT_DATA_BYTES

FUNCTION = """cluster: {image: a}
functions:
  - name: one
    run: proxy
    image: b
    tier: Sat
"""


def refused(text: str, folder: Path = Path()) -> InvalidConfig:
    with pytest.raises(InvalidConfig) as caught:
        parse_config(text, folder)
    return caught.value


def test_the_example_is_valid() -> None:
    """The example that the command prints can be read."""
    text = files("skylark_oci.manifests").joinpath("example.yaml").read_text()
    config = parse_config(text, Path())
    assert [function.name for function in config.file.functions] == ["preprocess", "detect", "alarm"]


def test_one_image_is_enough() -> None:
    """Everything else has a default."""
    config = parse_config(SMALL, Path())
    assert (config.file.cluster.namespace, config.file.cluster.distribution) == ("skylark", Distribution.PLAIN)
    assert (config.topology, config.event_data, config.file.functions) == (None, None, [])


def test_everything_is_read(tmp_path: Path) -> None:
    """Values arrive as types of their own, and files that are named with their contents."""
    config = cluster_of(FULL, tmp_path)
    detect = config.file.functions[2]
    assert (detect.run, detect.node, detect.tier, detect.concurrency) == (Run.WASMTIME, "sat2", None, 4)
    assert detect.reference == "localhost:32000/detect@sha256:" + "a" * 64
    assert (config.file.functions[1].called, config.file.functions[1].tier) == ("pre_process", Tier.SAT)
    assert (config.topology, config.event_data) == ('{"edges": []}', b"\x89PNG")


@pytest.mark.parametrize(
    ("text", "field", "expected", "line"),
    [
        ("", "cluster", "the file is empty", None),
        ("[]", "the file", "object", 1),
        ("cluster: {}", "cluster.image", "the field is missing", 1),
        ("cluster:\n  image: a\n  imag: b", "cluster.imag", "no such field", 3),
        ("cluster: {image: a}\nfunction: []", "function", "no such field", 2),
        ("cluster: {image: A B}", "cluster.image", "registry.example/skylark", 1),
        ("cluster: {image: 3}", "cluster.image", "an image", 1),
        ("cluster:\n  image: a\n  namespace: Big", "cluster.namespace", "a-z 0-9", 3),
        ("cluster:\n  image: a\n\n  distribution: k8s", "cluster.distribution", "plain, microk8s, k3s, kind", 4),
        ("cluster: {image: a, pod_network: 10.1.0.0/33}", "cluster.pod_network", "a network", 1),
        ("cluster:\n  image: a\n  operators:\n    - 10.0.0.0/8\n    - x", "cluster.operators[1]", "a network", 5),
        ("cluster: {image: a, runtime_handlers: {runc: x}}", "cluster.runtime_handlers", "wasmtime", 1),
        ("cluster: {image: a}\nredis: {memory: many}", "redis.memory", "a size", 2),
        ("cluster: {image: a}\nredis: {memory: 100m}", "redis.memory", "a size", 2),
        ("cluster: {image: a}\nredis: {cpu: 1Gi}", "redis.cpu", "processors", 2),
        ("cluster: {image: a}\nredis: {data: relative}", "redis.data", "an absolute path", 2),
        ("cluster: {image: a}\nproxy:\n  settings:\n    port: 1", "proxy.settings.port", "not depend on the pod", 4),
        ("cluster: {image: a}\nproxy: {settings: {x: [1]}}", "proxy.settings", "each a text, a number", 2),
        ("cluster: {image: a}\nnode_info: {settings: {node: a}}", "node_info.settings.node", "not depend", 2),
        ("cluster: {image: a}\nnode_info: {provider: static}", "node_info.topology", "a JSON file", 2),
        ("cluster: {image: a}\nnode_info: {topology: nowhere.json}", "node_info.topology", "a readable file", 2),
        ("cluster: {image: a}\nnode_info: {provider: dns}", "node_info.provider", "kubernetes, static", 2),
        (FUNCTION.replace("run: proxy", "run: runc"), "functions[0].run", "proxy, wasmtime, wasmedge", 4),
        (FUNCTION.replace("Sat", "sat"), "functions[0].tier", "Cloud, Edge, Sat", 6),
        (FUNCTION + "    node: n\n", "functions[0].node", "exactly one of tier and node", 7),
        (FUNCTION.replace("    tier: Sat\n", ""), "functions[0].tier", "exactly one of tier and node", 3),
        (FUNCTION.replace("name: one", "name: One"), "functions[0].name", "a-z 0-9", 3),
        (FUNCTION + "    after: two\n", "functions[0].after", "another function", 7),
        (FUNCTION + "    after: one\n", "functions[0].after", "another function", 7),
        (FUNCTION + "    digest: sha256:1\n", "functions[0].digest", "64 hexadecimal digits", 7),
        (FUNCTION + "    environment: {A: b}\n", "functions[0].environment", "manifest names its variables", 7),
        (
            FUNCTION.replace("run: proxy", "run: wasmedge") + "    environment: {A: b, PORT: '1'}\n",
            "functions[0].environment.PORT",
            "Knative sets it",
            7,
        ),
        (FUNCTION + "    timeout_s: 0\n", "functions[0].timeout_s", "int >= 1", 7),
        (FUNCTION + "    concurrency: many\n", "functions[0].concurrency", "int", 7),
        (FUNCTION + FUNCTION.partition("functions:\n")[2], "functions[1].name", "no other function has", 7),
        ("cluster: {image: a}\nevents: {schedule: {cron: daily}}", "events.schedule.cron", "five parts", 2),
        (
            "cluster: {image: a}\nevents: {schedule: {cron: '* * * * *', data_file: x}}",
            "events.schedule.data_file",
            "",
            2,
        ),
        ("cluster: {image: a}\ncluster: {image: b}", "cluster", "each field once", 2),
        ("cluster: {image: a, image: b}", "cluster.image", "each field once", 1),
        ("cluster: {image: [a}", "the file", "YAML", 1),
        ("cluster: !!python/object:os.system {}", "the file", "YAML", 1),
        ("cluster: {image: 2020-99-99}", "the file", "YAML", None),
    ],
)
def test_what_is_wrong_is_named(text: str, field: str, expected: str, line: int | None, tmp_path: Path) -> None:
    """Each error names the field, its line and what was expected there."""
    error = refused(text, tmp_path)
    assert (error.field, error.line) == (field, line)
    assert expected in error.expected
    assert field in error.message


def test_events_that_go_round_for_ever() -> None:
    """Functions that start each other in a circle are refused."""
    second = FUNCTION.partition("functions:\n")[2].replace("one", "two") + "    after: one\n"
    error = refused(FUNCTION + "    after: two\n" + second)
    assert (error.field, error.line) == ("functions[0].after", 7)
    assert "not a circle" in error.expected


def test_a_picture_that_is_too_large(tmp_path: Path) -> None:
    """An event's data has to fit into an object of the API; the error says how much it is."""
    (tmp_path / "x").write_bytes(bytes(MAX_EVENT_DATA_BYTES + 1))
    text = "cluster: {image: a}\nevents:\n  schedule:\n    cron: '* * * * *'\n    data_file: x"
    error = refused(text, tmp_path)
    assert (error.field, error.line) == ("events.schedule.data_file", 5)
    assert f"it has {MAX_EVENT_DATA_BYTES + 1}" in error.expected


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """The option that names it is named."""
    with pytest.raises(InvalidConfig, match=r"--file.*a readable YAML file"):
        read_config(tmp_path / "none.yaml")


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=3),
    max_leaves=12,
)


@given(st.text() | VALUES.map(lambda value: f"cluster: {{image: a}}\nproxy: {value!r}") | VALUES.map(repr))
def test_nonsense_is_an_error_of_ours(text: str) -> None:
    """Whatever a file holds, it is a configuration or an InvalidConfig."""
    try:
        parse_config(text, Path())
        error = None
    except InvalidConfig as raised:
        error = raised
    assert error is None or (error.field and error.expected)
