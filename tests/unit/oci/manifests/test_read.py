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
        ('cluster: {image: a}\nnode_info: {topology: "a\\0b"}', "node_info.topology", "a readable file", 2),
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
        ("cluster: {image: a:b:c}", "cluster.image", "an image", 1),
        ("cluster: {image: r.example/Upper:1}", "cluster.image", "an image", 1),
        ("cluster: {image: a, operators: [192.0.2.1]}", "cluster.operators[0]", "192.168.50.0/24", 1),
        ("cluster: {image: a, pod_network: 10.1.0.0}", "cluster.pod_network", "10.1.0.0/16", 1),
        ("cluster: {image: a, tolerations: [{key: a b}]}", "cluster.tolerations[0].key", "the key of a taint", 1),
        ("cluster: {image: a, tolerations: [{key: a, value: a b}]}", "cluster.tolerations[0].value", "63", 1),
        ("cluster: {image: a, pull_secret: My_Login}", "cluster.pull_secret", "the name of a Secret", 1),
        ("cluster: {image: a}\nredis: {data: /}", "redis.data", "a folder", 2),
        ("cluster: {image: a}\nredis: {data: /srv/../etc}", "redis.data", "without ..", 2),
        ("cluster: {image: a}\nredis: {memory: '512'}", "redis.memory", "1Mi or more", 2),
        ("cluster: {image: a}\nproxy: {exchange: 2Gi}", "proxy.exchange", "", 2),
        (FUNCTION.replace("tier: Sat", "node: -a"), "functions[0].node", "the name of a node", 6),
        (FUNCTION.replace("tier: Sat", "node: a..b"), "functions[0].node", "around each dot", 6),
        (FUNCTION.replace("tier: Sat", f"node: {'a' * 254}"), "functions[0].node", "at most 253", 6),
        (FUNCTION + "    min_scale: 5\n    max_scale: 2\n", "functions[0].max_scale", "min_scale, 5, or more", 8),
        (FUNCTION + "    min_scale: -1\n", "functions[0].min_scale", "int >= 0", 7),
        (FUNCTION + "    max_scale: 1000000\n", "functions[0].max_scale", "int <= 1000", 7),
        (
            FUNCTION.replace("run: proxy", "run: wasmedge").replace("one", "skylark-redis"),
            "functions[0].name",
            "does not begin with skylark-",
            3,
        ),
        (
            FUNCTION.replace("run: proxy", "run: wasmedge") + "    environment: {SKYLARK_PROXY_URL: x}\n",
            "functions[0].environment.SKYLARK_PROXY_URL",
            "set already",
            7,
        ),
        ("cluster: {image: a}\nevents: {dead_letter: not a url}", "events.dead_letter", "a URL", 2),
        ("cluster: {image: a}\nevents: {dead_letter: lost}", "events.dead_letter", "the name of a function", 2),
        ("cluster: {image: a}\nevents: {dead_letter: ftp://lost.example/}", "events.dead_letter", "a URL", 2),
        ("cluster: {image: a}\nevents: {dead_letter: 'http://'}", "events.dead_letter", "a URL", 2),
        ("cluster: {image: a}\nevents: {dead_letter: 'http://a:port/'}", "events.dead_letter", "a URL", 2),
        (
            "cluster: {image: a}\nevents:\n"
            "  dead_letter: http://broker-ingress.knative-eventing.svc.cluster.local/skylark/default",
            "events.dead_letter",
            "for ever",
            3,
        ),
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


def chain(*functions: str, events: str = "") -> str:
    """A configuration with functions of proxies, each given by its name and what is particular to it."""
    made = [f"  - {{run: proxy, image: b, tier: Sat, name: {function}}}" for function in functions]
    return "\n".join(["cluster: {image: a}", f"events: {{{events}}}", "functions:", *made])


@pytest.mark.parametrize(
    ("text", "field", "way"),
    [
        (chain("a, after: b", "b, after: a"), "functions[0].after", "a → b → a"),
        (chain("a, after: c", "b, after: a", "c, after: b"), "functions[0].after", "a → b → c → a"),
        (chain("a, on_event: io.skylark.function.b", "b, after: a"), "functions[0].on_event", "a → b → a"),
        (chain("a, on_event: t, replies: t"), "functions[0].on_event", "a → a"),
        (chain("a, on_event: io.skylark.function.a"), "functions[0].on_event", "a → a"),
        (chain("a, function: f, on_event: io.skylark.function.f"), "functions[0].on_event", "a → a"),
        (
            chain("first, on_event: x", "a, on_event: u, replies: t", "b, on_event: t, replies: u"),
            "functions[1].on_event",
            "a → b → a",
        ),
        (
            chain("a, on_event: dev.knative.sources.ping, replies: dev.knative.sources.ping"),
            "functions[0].on_event",
            "a → a",
        ),
        (chain("lost", "a, after: lost", events="dead_letter: lost"), "events.dead_letter", "lost → a → lost"),
        (chain("lost, on_event: x", events="dead_letter: lost"), "functions[0].on_event", "lost → lost"),
    ],
)
def test_events_that_go_round_for_ever(text: str, field: str, way: str) -> None:
    """Functions that start each other in a circle of any length are refused, and the circle is named."""
    error = refused(text)
    assert error.field == field
    assert error.expected == f"a chain that begins somewhere, not a circle: {way}"


def test_a_long_chain_that_ends() -> None:
    """A chain of more functions than Python's stack has room for is no circle; with its ends joined it is one."""
    links = [f"f{index}, after: f{index - 1}" for index in range(1, 1500)]
    assert len(parse_config(chain("f0, on_event: x", *links), Path()).file.functions) == 1500
    assert refused(chain("f0, after: f1499", *links)).field == "functions[0].after"


def test_several_functions_that_one_event_starts() -> None:
    """Two ways that meet again are no circle."""
    parse_config(
        chain("a, on_event: x", "b, after: a, replies: t", "c, after: a, replies: t", "d, on_event: t"), Path()
    )


def test_two_components_with_one_function() -> None:
    """A proxy does not start with them, so they are refused in one pool, and taken in two; one component may be named
    twice."""
    two = chain("a, function: f", "b, function: f")
    assert len(parse_config(two, Path()).file.functions) == 2
    other = two[::-1].replace("b :egami", "c :egami", 1)[::-1]
    error = refused(other)
    assert (error.field, error.value) == ("functions[1].function", "f")
    assert "of Sat" in error.expected and "a is b's" in error.expected
    parse_config(other.replace("tier: Sat", "node: n", 1), Path())
    assert refused(other.replace("tier: Sat", "node: n")).field == "functions[1].function"


@pytest.mark.parametrize(
    "text",
    [
        FUNCTION.replace("tier: Sat", "node: ip-10-0-0-1.eu-central-1.compute.internal"),
        FUNCTION.replace("tier: Sat", f"node: {'a' * 253}"),
        FUNCTION + "    min_scale: 2\n    max_scale: 2\n",
        FUNCTION + "    min_scale: 2\n    max_scale: 0\n",
        FUNCTION + "events: {dead_letter: one}\n",
        "cluster: {image: a}\nevents: {dead_letter: 'http://lost.example:80/a?b=c'}",
        "cluster: {image: a}\nredis: {memory: 1.5Gi, secret: my.redis-1}",
        "cluster: {image: '[::1]:5000/team/a_b.c:v1', namespace: 0space}",
        "cluster: {image: 'r.example:5000/a@sha256:" + "0" * 64 + "'}",
    ],
)
def test_what_kubernetes_accepts(text: str) -> None:
    """Names, sizes and images are accepted wherever a cluster accepts them."""
    assert parse_config(text, Path())


def test_files_that_would_be_refused_later(tmp_path: Path) -> None:
    """A topology that is no JSON would end node-info; Knative refuses an event of that type which is no JSON object."""
    (tmp_path / "x").write_text("[1")
    assert refused("cluster: {image: a}\nnode_info: {topology: x}", tmp_path).field == "node_info.topology"
    text = "cluster: {image: a}\nevents: {schedule: {cron: '* * * * *', data_file: x, content_type: application/json}}"
    assert refused(text, tmp_path).field == "events.schedule.data_file"
    (tmp_path / "x").write_text('{"a": 1}')
    assert parse_config(text, tmp_path).event_data == b'{"a": 1}'


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
