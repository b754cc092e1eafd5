"""Containers of core modules in a crun that has WasmEdge, for the tests.

The variable `CRUN` names the program. It loads the `libwasmedge.so.0` that the dynamic linker finds, which has to be of
the version of the `wasmedge` that `WASMEDGE` names. Both have to be root's, as a container runtime's are.
"""

import contextlib
import json
import os
import subprocess
import tarfile
import uuid
from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path

from skylark_oci import Metadata
from skylark_oci.images import Form
from skylark_oci.packages import package

VARIABLE = "CRUN"

_NATIVE_BEFORE = (0, 17)
"""From this libwasmedge on, a program that sets no run mode has its modules interpreted, and crun sets none."""


def uses_native_code(wasmedge_version: str) -> bool:
    """True if crun runs native code with a libwasmedge of this version."""
    major, minor, *_ = wasmedge_version.split(".")
    return (int(major), int(minor)) < _NATIVE_BEFORE


@contextlib.contextmanager
def container(module: Path, environment: Mapping[str, str], folder: Path) -> Iterator[list[str]]:
    """Unpack the image of a core module into `folder`; yield the command line that runs it, and delete its container.

    The container has what pods of functions have: a read-only root, the image's user, no capabilities and its own
    process namespace. It shares the network, so that tests reach it.
    """
    image = package(module.read_bytes(), module.stem, Metadata()).forms[Form.IMAGE]
    config = json.loads(image.blobs[image.manifest.config.digest])["config"]
    for layer in image.manifest.layers:
        with tarfile.open(fileobj=BytesIO(image.blobs[layer.digest])) as files:
            files.extractall(folder / "rootfs", filter="data")
    annotations = {name: value for name, value in (image.manifest.annotations or {}).items() if "wasm.image" in name}
    (folder / "config.json").write_text(json.dumps(_specification(config, environment, annotations)))
    crun = [os.environ[VARIABLE], "--cgroup-manager", "disabled"]
    name = f"skylark-{uuid.uuid4().hex}"
    try:
        yield [*crun, "run", "--bundle", str(folder), name]
    finally:
        subprocess.run([*crun, "delete", "--force", name], capture_output=True, timeout=60, check=False)


def _specification(
    config: Mapping[str, object], environment: Mapping[str, str], annotations: Mapping[str, str]
) -> dict[str, object]:
    """Return the container's `config.json` (OCI runtime specification 1.0)."""
    uid, gid = str(config["User"]).split(":")
    return {
        "ociVersion": "1.0.0",
        "process": {
            "user": {"uid": int(uid), "gid": int(gid)},
            "args": config["Entrypoint"],
            "env": [f"{name}={value}" for name, value in environment.items()],
            "cwd": "/",
            "noNewPrivileges": True,
            "capabilities": {},
        },
        "root": {"path": "rootfs", "readonly": True},
        "annotations": annotations,
        "mounts": [
            {"destination": "/proc", "type": "proc", "source": "proc"},
            {"destination": "/dev", "type": "tmpfs", "source": "tmpfs"},
        ],
        "linux": {"namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")]},
    }
