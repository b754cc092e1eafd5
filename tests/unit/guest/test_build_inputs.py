"""What a build reads is noted: files, questions about files, folders and modules, and nothing else."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

RUN = """
import sys
folder, out, program = sys.argv[1:]
sys.path.insert(0, folder)
from skylark.build_inputs import Recorder
from skylark.late_files import LateFiles
from skylark.late_modules import LateModules
recorder = Recorder([folder], [folder])
recorder.start()
exec(compile(program, "<program>", "exec"))
recorder.finish(out, LateModules(), LateFiles())
"""
"""In a process of its own: what it changes is the interpreter's."""

AFTERWARDS = """
import os
assert recorder not in sys.meta_path and not hasattr(os.stat, "__wrapped__") and sys.pycache_prefix is None
before = list(recorder._files)
recorder._heard = True
open(folder + "/later.txt", "w").close()
assert list(recorder._files) == before
assert os.stat in os.supports_dir_fd
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A function's folder with data, and modules that are not imported yet."""
    made = tmp_path / "app"
    (made / "data").mkdir(parents=True)
    (made / "data" / "table.txt").write_text("1")
    (made / "helper.py").write_text("VALUE = 1\n")
    (tmp_path / "outside.txt").write_text("2")
    return made


def heard(folder: Path, program: str, after: str = "") -> dict[str, Any]:
    """Run a program under the recorder; return what it wrote, with paths relative to the folder."""
    out = folder.parent / "heard.json"
    command = [sys.executable, "-c", RUN + after, str(folder), str(out), program]
    subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, Any] = json.loads(out.read_text().replace(f"{folder}/", "").replace(str(folder), "."))
    return found


@pytest.mark.parametrize(
    "program",
    [
        "open(folder + '/data/table.txt').close()",
        "open((folder + '/data/table.txt').encode(), 'rb').close()",
        "import pathlib; pathlib.Path(folder, 'data', 'table.txt').read_bytes()",
        "import os; os.close(os.open(folder + '/data/table.txt', os.O_RDONLY))",
        "import os; os.chdir(folder); open(folder + '/data/../data/table.txt').close()",
        "import os; os.stat(folder + '/data/table.txt')",
        "import os; os.path.isfile(folder + '/data/table.txt')",
        "import os; os.access(folder + '/data/table.txt', os.R_OK)",
        "import io; io.open(folder + '/data/table.txt', 'a').close()",
        "import sqlite3; sqlite3.connect(folder + '/data/table.txt').close()",
    ],
)
def test_a_file_that_was_read_or_asked_for(folder: Path, program: str) -> None:
    """However it is opened or asked about, its name is there."""
    assert "data/table.txt" in heard(folder, program)["files"]


def test_a_file_that_is_not_there(folder: Path) -> None:
    """A build that asked in vain for a file is another one once the file is there."""
    program = (
        "import os\nos.path.exists(folder + '/data/none.txt')\ntry: open(folder + '/none.toml')\nexcept OSError: pass"
    )
    assert {"data/none.txt", "none.toml"} <= set(heard(folder, program)["files"])


def test_what_was_only_written_or_lies_outside(folder: Path) -> None:
    """The build's own output is no input, and neither is a file of another folder or an open file's number."""
    program = (
        "open(folder + '/made.txt', 'w').write('1')\nopen(folder + '/made.txt').close()\n"
        "file = open(folder + '/../outside.txt')\nopen(file.fileno(), closefd=False).close()"
    )
    assert heard(folder, program)["files"] == []


@pytest.mark.parametrize(
    "program",
    [
        "import os; os.listdir(folder + '/data')",
        "import os; list(os.scandir(folder + '/data'))",
        "import pathlib; list(pathlib.Path(folder, 'data').glob('*.txt'))",
    ],
)
def test_a_folder_whose_names_were_read(folder: Path, program: str) -> None:
    """A new file in it makes another build."""
    assert heard(folder, program)["listed"] == [["data", False]]


def test_modules(folder: Path) -> None:
    """What was imported has its file; what was looked for in vain is there by its name."""
    found = heard(folder, "import helper\ntry: import absent\nexcept ImportError: pass")
    assert found["modules"] == [["helper", "helper.py"]]
    assert found["files"] == ["helper.py"]
    assert [".", "absent"] in found["looked_up"] and [".", "helper"] in found["looked_up"]
    assert not (folder / "__pycache__").exists()


def test_compiled_files_are_not_read(folder: Path) -> None:
    """An old compiled file beside a source is passed over, whatever its time says."""
    subprocess.run([sys.executable, "-m", "compileall", "-q", folder], check=True)
    assert "__pycache__" not in str(heard(folder, "import helper")["files"])


def test_functions_that_are_only_imported_late_do_not_count(folder: Path) -> None:
    """The component has the functions of what its source imports at the top, and no more."""
    (folder / "late.py").write_text("import skylark\n\n\n@skylark.function\ndef other(bundle, ctx): ...\n")
    (folder / "app.py").write_text(
        "import skylark\n\n\n@skylark.function\ndef own(bundle, ctx):\n    import late\n    import gone\n"
    )
    after = "from skylark.functions import REGISTRY\nassert list(REGISTRY) == ['own'], REGISTRY\n"
    found = heard(folder, "import app", after)
    assert ["late", "late.py"] in found["modules"]
    assert found["missing"] == [["gone", "app.py", 7]]


def test_nothing_of_it_stays_in_the_interpreter(folder: Path) -> None:
    """After the end neither a hook, nor a finder, nor another `os.stat` is left to be frozen."""
    heard(folder, "import helper", AFTERWARDS)
