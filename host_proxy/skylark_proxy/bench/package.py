"""Packaging, pushing and pulling a component against skopeo's copies of the same layout: one registry, one run."""

import shutil
import statistics
import subprocess
import tempfile
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from skylark_oci import Metadata, Reference
from skylark_oci.images import ARTIFACT_SUFFIX, Form
from skylark_oci.layout import open_layout, write_layout
from skylark_oci.packages import package
from skylark_oci.pull import pull
from skylark_oci.push import push
from skylark_oci.settings import RegistrySettings
from skylark_oci.wasm import custom_section
from skylark_proxy.bench.component import build_bench_component
from skylark_proxy.config import Config
from skylark_proxy.errors import InvalidArgument, SkylarkError

Progress = Callable[[str], None]

_TAG = "1.0"
_TAGS = {Form.IMAGE: _TAG, Form.ARTIFACT: _TAG + ARTIFACT_SUFFIX}


class BenchFailed(SkylarkError):
    """A program that the comparison needs did not do its part."""


@dataclass(frozen=True, slots=True)
class PackageResult:
    """The medians over all rounds, in seconds; `skopeo_s` is None where skopeo has no like of it."""

    operation: str
    size_bytes: int
    skylark_s: float
    skopeo_s: float | None


def bench_package(
    config: Config, repository: Reference, settings: RegistrySettings, rounds: int, progress: Progress
) -> list[PackageResult]:
    """Measures in `rounds` rounds, in which the two take turns, each below a path of its own in the registry.

    Skylark is called as a library, skopeo as the program that it is: its start is in its times.

    Args:
        repository: Below which path of which registry to push.

    Raises:
        InvalidArgument: skopeo is not in PATH.
        RegistryError, BenchFailed: The registry did not do its part.
    """
    times: dict[str, list[tuple[float, float | None]]] = {}
    with tempfile.TemporaryDirectory(prefix="skylark-bench-") as name:
        folder = Path(name)
        component = build_bench_component(folder, config, progress)
        one_round = _Round(component, folder, settings, _skopeo(repository, settings))
        for number in range(1, rounds + 1):
            progress(f"round {number} of {rounds}")
            for operation, pair in one_round.measure(repository).items():
                times.setdefault(operation, []).append(pair)
        sizes = _sizes(one_round.layout, component)
    return [PackageResult(operation, sizes[operation], *_medians(pairs)) for operation, pairs in times.items()]


class _Round:
    """What is measured once: each operation by Skylark, then by skopeo."""

    def __init__(self, component: Path, folder: Path, settings: RegistrySettings, skopeo: list[str]) -> None:
        self._component = component
        self._folder = folder
        self._settings = settings
        self._skopeo = skopeo
        self.layout = folder / "app.oci"

    def measure(self, repository: Reference) -> dict[str, tuple[float, float | None]]:
        run = f"{repository.repository}/{uuid.uuid4().hex}"
        ours, theirs = (Reference(repository.host, f"{run}/{who}", _TAG) for who in ("skylark", "skopeo"))
        times: dict[str, tuple[float, float | None]] = {"package": (_time(self._package), None)}
        for operation in ("push", "push again"):
            times[operation] = (_time(partial(self._push, ours)), _time(partial(self._copy_there, theirs)))
        for form, tag in _TAGS.items():
            there, back = partial(self._pull, ours.tagged(tag)), partial(self._copy_back, theirs.tagged(tag))
            times[f"pull {form}"] = (_time(there), _time(back))
        return times

    def _package(self) -> None:
        # new in each round: skopeo remembers which layers a registry has, and would have them mounted instead
        content = self._component.read_bytes() + custom_section("round", uuid.uuid4().bytes)
        write_layout(package(content, self._component.stem, Metadata(version=_TAG)).layout(), self.layout)

    def _push(self, reference: Reference) -> None:
        with open_layout(self.layout) as layout:
            push(layout, str(self.layout), reference, self._settings)

    def _pull(self, reference: Reference) -> None:
        pull(reference, self._folder / "pulled.wasm", self._settings)

    def _copy_there(self, reference: Reference) -> None:
        for tag in _TAGS.values():
            self._copy(f"oci:{self.layout}:{tag}", f"docker://{reference.tagged(tag)}")

    def _copy_back(self, reference: Reference) -> None:
        self._copy(f"docker://{reference}", f"oci:{self._folder / uuid.uuid4().hex}:{reference.tag}")

    def _copy(self, source: str, target: str) -> None:
        done = subprocess.run([*self._skopeo, source, target], capture_output=True, check=False)
        if done.returncode != 0:
            raise BenchFailed(f"skopeo copy {source} {target}: {done.stderr.decode(errors='replace').strip()}")


def _sizes(layout: Path, component: Path) -> dict[str, int]:
    """The bytes of each operation: of what is packaged, and of the blobs that are moved."""
    with open_layout(layout) as opened:
        forms = dict(zip(Form, (manifest for _, manifest in opened.manifests(str(layout))), strict=False))
        whole = sum(map(len, opened.blobs.values()))
    moved = {form: sum(layer.size for layer in manifest.layers) for form, manifest in forms.items()}
    return {
        "package": component.stat().st_size,
        "push": whole,
        "push again": 0,
        "pull image": moved[Form.IMAGE],
        "pull artifact": moved[Form.ARTIFACT],
    }


def _time(action: Callable[[], None]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def _medians(pairs: list[tuple[float, float | None]]) -> tuple[float, float | None]:
    theirs = [seconds for _, seconds in pairs if seconds is not None]
    return statistics.median(seconds for seconds, _ in pairs), statistics.median(theirs) if theirs else None


def _skopeo(repository: Reference, settings: RegistrySettings) -> list[str]:
    """The command that copies, without TLS where Skylark does without it."""
    path = shutil.which("skopeo")
    if path is None:
        raise InvalidArgument("PATH", "skopeo", "the program; on Debian and Ubuntu: apt-get install skopeo")
    verify = str(not settings.is_plain(repository)).lower()
    return [path, "copy", "--quiet", f"--src-tls-verify={verify}", f"--dest-tls-verify={verify}"]
