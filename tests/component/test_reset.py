"""A sandbox that was reset cannot be told from a fresh one: byte by byte, and by what the next caller sees."""

import contextlib
import json
import logging
import random
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from component.nodes import MemoryState, Node, Run, limited
from skylark_proxy.errors import SkylarkError
from skylark_proxy.runtime import Engine, Invocation, Limits, Manifest, private_pages
from skylark_proxy.runtime.module import HostedModule
from skylark_proxy.runtime.pool import SandboxPool
from skylark_proxy.runtime.private_pages import find_way
from skylark_proxy.runtime.sandbox import Sandbox, SandboxConfig

MEMORY_BYTES = 96 << 20
CHUNK_BYTES = 1 << 20
ROUNDS = 60

ACTS = {
    "nothing": "",
    "a value": "answer = {'f': bytes(1000)}",
    "an answer": "answer = skylark.Response(bytes(100_000))",
    "an exception": "raise ValueError('no')",
    "a global": "hosted.left = [1, 2, 3]; skylark.functions.REGISTRY['good'] = None; attack.mark = 1",
    "a module": "sys.modules['left'] = sys; import email.mime.text, decimal",
    "the environment": "os.environ['LEFT'] = 'behind'; time.tzset() if hasattr(time, 'tzset') else None",
    "chance": "import random; random.seed(1); random.random()",
    "settings of the interpreter": "import gc; gc.disable(); sys.setrecursionlimit(5000); sys.setswitchinterval(1)",
    "output": "print('left ' * 1000, end=''); sys.stderr.write('left'); sys.stdout = None",
    "closed files": "os.close(1); os.close(2)",
    "a trap": "os.abort()",
    "an exit": "os._exit(3)",
    "a deadline": "while True: pass",
    "a wait": "time.sleep(60)",
    "endless recursion": "def f(): f()\nf()",
    "an overflow in C": "x = []\nfor _ in range(200_000): x = [x]\nrepr(x)",
    "some memory": "hosted.left = [bytearray(1 << 20) for _ in range(10)]",
    "all memory": "kept = []\nwhile True: kept.append(bytearray(1 << 20))",
    "many objects": "hosted.left = {n: str(n) for n in range(50_000)}",
    "a fetch": "ctx.state.fetch('chain-1:t')",
    "a store": "ctx.state.store({'f': bytes(300_000)})",
    "a large fetch": "ctx.state.fetch('chain-1:large')",
    "a fetch in vain": "ctx.state.fetch('chain-1:nothing')",
    "a body": "hosted.left = bytes(ctx.request.body) * 3",
}


@pytest.fixture(params=[*private_pages.WAYS, None], ids=["PAGEMAP_SCAN", "pagemap", "new instances"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[type | None]:
    """Let the system have one way to find out what was written, or none."""
    find_way.cache_clear()
    monkeypatch.setattr(private_pages, "WAYS", () if request.param is None else (request.param,))
    if request.param is not None and find_way() is None:
        pytest.skip(f"this kernel does not have {request.param.__name__}")
    yield request.param
    monkeypatch.undo()
    find_way.cache_clear()


def same(one: Sandbox, other: Sandbox) -> bool:
    """Whether two instances have the same memory, up to its limit, and the same globals."""
    first, second = one._instance, other._instance
    view, compared = first.memory.view, second.memory.view
    chunks = range(0, len(view), CHUNK_BYTES)
    equal = all(bytes(view[at : at + CHUNK_BYTES]) == bytes(compared[at : at + CHUNK_BYTES]) for at in chunks)
    numbers = [[each._value_of(global_).of.i32 for global_ in each._globals.values()] for each in (first, second)]
    return equal and len(view) == len(compared) and numbers[0] == numbers[1]


@pytest.mark.parametrize("way", private_pages.WAYS, indirect=True)
@pytest.mark.parametrize("seed", [1, 2])
def test_memory_and_globals_are_those_of_a_fresh_instance(
    engine: Engine, components: dict[str, Path], way: type | None, seed: int
) -> None:
    """After values, exceptions, traps, deadlines, exits and memory to the limit, in any order."""
    module = HostedModule(engine.wasmtime, engine.load(components["hostile"]), "hostile")
    config = SandboxConfig(Limits(memory_bytes=MEMORY_BYTES, deadline_ms=300), {"MODE": "night"})
    first = Sandbox(module, config)
    first.functions()
    pristine = first.warm_up()
    used, fresh = Sandbox(module, config, pristine), Sandbox(module, config, pristine)
    state, chosen = MemoryState(), random.Random(seed)
    state.bundles = {"chain-1:t": (1, {"f": bytes(1000)}), "chain-1:large": (1, {"f": bytes(20 << 20)})}
    assert same(used, fresh)
    for _ in range(ROUNDS):
        name = chosen.choice(list(ACTS))
        body = ACTS[name].encode() + b"\n#" + chosen.randbytes(chosen.choice((0, 10, 200_000))).hex().encode()
        state.lands = chosen.random() < 0.5
        with contextlib.suppress(SkylarkError):
            used.invoke(Invocation(("attack",), "chain-1", "t", "n", None, body), state)
        used.reset()
        assert same(used, fresh), name
    for sandbox in (first, used, fresh):
        sandbox.close()
    module.close()
    assert pristine.image is not None
    pristine.image.close()


SEE = """
import random, email, gc
answer = skylark.Response(json.dumps({
    'left': hasattr(hosted, 'left') or hasattr(attack, 'mark') or 'left' in sys.modules,
    'environment': sorted(os.environ.items()), 'functions': skylark.functions.REGISTRY['good'] is good,
    'recursion': sys.getrecursionlimit(), 'collecting': gc.isenabled(), 'stdout': sys.stdout is not None,
    'modules': 'email.mime.text' in sys.modules, 'files': os.path.exists('/exchange'),
}).encode())
"""
CHANCE = (
    "import random, uuid\nanswer = skylark.Response(f'{random.random()} {os.urandom(8).hex()} {uuid.uuid4()}'.encode())"
)


def test_nothing_of_one_caller_reaches_the_next(run: Run, way: type | None, caplog: pytest.LogCaptureFixture) -> None:
    """Whatever a caller leaves, by whatever end, the next one sees what the first one saw, in its own output too."""
    manifest = limited(Manifest(ready=1, environment={"MODE": "night"}), memory_bytes=MEMORY_BYTES, deadline_ms=500)
    with run("hostile", manifest) as node:
        node.state.bundles = {"chain-1:t": (1, {"f": b""}), "chain-1:large": (1, {"f": bytes(20 << 20)})}
        at_first = node.answer("attack", body=SEE)
        assert json.loads(at_first)["environment"] == [["MODE", "night"]]
        assert json.loads(at_first)["left"] is False
        for name, act in ACTS.items():
            with contextlib.suppress(SkylarkError):
                node.invoke("attack", body=act)
            caplog.clear()
            with caplog.at_level(logging.INFO, "skylark.guest"):
                assert node.answer("attack", body=SEE) == at_first, name
                node.invoke("attack", body="print('own')")
            printed = [record.getMessage() for record in caplog.records if record.name == "skylark.guest"]
            assert printed == ["attack chain-1 stdout: own"], name


def test_chance_is_new_for_each_call(run: Run, way: type | None) -> None:
    """No two invocations draw the same, although they begin with the same memory."""
    with run("hostile", Manifest(ready=1)) as node:
        drawn = [part for _ in range(10) for part in node.answer("attack", body=CHANCE).split()]
        assert len(set(drawn)) == 30


@pytest.mark.parametrize("manifest", [Manifest(ready=0), Manifest(ready=2), Manifest(ready=0, reuse=True)])
def test_the_environment_is_that_of_the_manifest_in_each_call(run: Run, manifest: Manifest) -> None:
    """Also in calls after the first one."""
    given = Manifest(ready=manifest.ready, reuse=manifest.reuse, environment={"A": "1", "B": "zwei"})
    with run("hostile", given) as node:
        assert [node.answer("environment") for _ in range(3)] == [repr([("A", "1"), ("B", "zwei")]).encode()] * 3


IMMORTAL = """
told = sys._is_immortal
answer = skylark.Response(json.dumps([told(skylark.functions.REGISTRY), told(attack), told(object())]).encode())
"""


def test_what_a_component_begins_with_is_immortal(run: Run) -> None:
    """The references of its objects are not counted, so a call writes few pages; those of its own objects are."""
    with run("hostile", Manifest(ready=1)) as node:
        assert json.loads(node.answer("attack", body=IMMORTAL)) == [True, True, False]
        node.answer("good", body=b"x")
        (sandbox,) = pool_of(node)._ready
        mapped = sandbox._instance._mapped
        assert mapped is not None
        assert sum(part.stop - part.start for part in mapped._copied) < 2 << 20


def pool_of(node: Node) -> SandboxPool:
    """The pool of the node's one component."""
    return next(iter(node.functions.all().values())).pool


@pytest.mark.parametrize("act", ["", "raise ValueError", "os.abort()", "os._exit(1)", "while True: pass"])
def test_a_sandbox_is_kept_after_whatever_end(run: Run, act: str) -> None:
    """A trap, an exit and a deadline end in a reset as well, not in a new instance."""
    with run("hostile", limited(Manifest(ready=1), deadline_ms=500)) as node:
        pool = pool_of(node)
        before = list(pool._ready)
        with contextlib.suppress(SkylarkError):
            node.invoke("attack", body=act)
        assert pool._ready == before


def test_a_sandbox_that_cannot_be_reset_is_replaced(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the system suddenly does not tell what was written, the next caller has a new instance."""
    with run("hostile", Manifest(ready=1)) as node:
        pool = pool_of(node)
        before = list(pool._ready)

        def fail(_self: object) -> None:
            raise OSError("it does not say")

        reset: Callable[[Sandbox], None] = Sandbox.reset
        monkeypatch.setattr(Sandbox, "reset", fail)
        node.invoke("attack", body="hosted.left = 1")
        monkeypatch.setattr(Sandbox, "reset", reset)
        assert pool._ready == []
        assert (
            node.answer("attack", body="answer = skylark.Response(str(hasattr(hosted, 'left')).encode())") == b"False"
        )
        assert pool._ready != before
