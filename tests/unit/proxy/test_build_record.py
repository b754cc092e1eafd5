"""A component says what went into it: modules, distributions and tools, and nothing of the machine that built it."""

from pathlib import Path

import pytest

from skylark_oci.record import Distribution, Module, read_record
from skylark_oci.wasm import read_wasm
from skylark_proxy.build_record import append_record, build_record
from skylark_proxy.runtime.engine import digest
from skylark_proxy.source import resolve
from skylark_proxy.target import Target
from wasm_files import COMPONENT, wasm_file


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages in place of the environment's own."""
    folder = tmp_path / "site-packages"
    folder.mkdir()
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(folder))
    return folder


def install(site: Path, name: str, version: str, metadata: str, *files: str) -> None:
    """Installs a distribution as pip would leave it."""
    info = site / f"{name.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.4\nName: {name}\nVersion: {version}\n{metadata}\n")
    (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))
    for file in files:
        (site / file).parent.mkdir(parents=True, exist_ok=True)
        (site / file).write_text(f"# {file}\n")


def test_modules_by_the_names_that_import_them(tmp_path: Path, site: Path) -> None:
    """The function's own modules and packages, with the digests of their sources, sorted."""
    (tmp_path / "pkg" / "sub").mkdir(parents=True)
    for file, content in {
        "app.py": "import helper\nimport pkg.sub.deep\n",
        "helper.py": "x = 1\n",
        "pkg/__init__.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/deep.py": "y = 2\n",
    }.items():
        (tmp_path / file).write_text(content)
    record = build_record(resolve(tmp_path / "app.py"), Target.HOSTED)
    assert [module.name for module in record.modules] == ["app", "helper", "pkg", "pkg.sub", "pkg.sub.deep"]
    assert Module("helper", digest(b"x = 1\n")) in record.modules
    assert (record.world, record.target, record.distributions) == ("skylark:state/hosted@0.1.0", "hosted", [])
    assert set(record.tools) == {"componentize-py", "cpython", "skylark"}


def test_distributions_that_are_used(tmp_path: Path, site: Path) -> None:
    """Only those whose files went in, each once, also where two share a namespace."""
    install(site, "shape-area", "1.5", "License-Expression: MIT", "shapes/area.py", "shapes/more.py")
    install(site, "shape-color", "2.0", "License-Expression: BSD-3-Clause", "shapes/color.py")
    install(site, "unused", "3.0", "License-Expression: MIT", "unused.py")
    (tmp_path / "app.py").write_text("import shapes.area\nimport shapes.more\n")
    record = build_record(resolve(tmp_path / "app.py"), Target.HOSTED)
    assert record.distributions == [Distribution("shape-area", "1.5", "MIT")]
    assert [module.name for module in record.modules] == ["app", "shapes.area", "shapes.more"]


@pytest.mark.parametrize(
    ("metadata", "license_name"),
    [
        ("License-Expression: Apache-2.0 OR MIT", "Apache-2.0 OR MIT"),
        ("License: BSD", "BSD"),
        ("License: BSD\nLicense-Expression: BSD-3-Clause", "BSD-3-Clause"),
        (
            "License: Permission is granted,\n        for free\nClassifier: License :: OSI Approved :: MIT License",
            "MIT License",
        ),
        ("License: " + "x" * 121, None),
        ("Classifier: Programming Language :: Python", None),
        ("", None),
    ],
)
def test_the_licence_that_a_distribution_names(
    tmp_path: Path, site: Path, metadata: str, license_name: str | None
) -> None:
    """The expression of newer metadata, else the field, unless it is the whole text, else the classifiers."""
    install(site, "lib", "1.0", metadata, "lib.py")
    (tmp_path / "app.py").write_text("import lib\n")
    (distribution,) = build_record(resolve(tmp_path / "app.py"), Target.HOSTED).distributions
    assert distribution.license == license_name


def test_a_record_is_appended(tmp_path: Path, site: Path) -> None:
    """The component keeps what it was, and the record is read out of it; no path of the machine is in it."""
    (tmp_path / "app.py").write_text("import json\n")
    component = tmp_path / "app.wasm"
    component.write_bytes(wasm_file(COMPONENT))
    source = resolve(tmp_path / "app.py")
    append_record(component, source, Target.HOSTED)
    content = component.read_bytes()
    assert content.startswith(wasm_file(COMPONENT))
    assert read_record(read_wasm(content), "app") == build_record(source, Target.HOSTED)
    assert str(tmp_path).encode() not in content


def test_equal_sources_in_other_folders_have_equal_records(tmp_path: Path, site: Path) -> None:
    """Where a function was built makes no difference to its digest."""
    records = []
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "app.py").write_text("import helper\n")
        (tmp_path / name / "helper.py").write_text("")
        records.append(build_record(resolve(tmp_path / name / "app.py"), Target.HOSTED))
    assert records[0] == records[1]
