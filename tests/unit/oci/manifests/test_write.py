"""Writing manifests: the files, what they say, and what a second run keeps."""

import stat
from pathlib import Path

import pytest
import yaml

from clusters import FULL, SMALL, cluster_of
from skylark_oci.manifests import InvalidConfig, render, write_manifests
from skylark_oci.manifests.foundation import Secrets

SECRETS = "secrets/03-secrets.yaml"


def content(folder: Path) -> dict[str, str]:
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*.yaml")}


def test_the_files_say_what_was_rendered(tmp_path: Path) -> None:
    """Each part is a file whose documents are those that were rendered."""
    config = cluster_of(FULL, tmp_path)
    written = write_manifests(config, tmp_path / "out")
    assert written == sorted(written) and all(path.exists() for path in written)
    key, password = secrets_in(tmp_path / "out")
    for part in render(config, Secrets(key, password)):
        name = SECRETS if part.name == "03-secrets" else f"{part.name}.yaml"
        assert list(yaml.safe_load_all((tmp_path / "out" / name).read_text())) == part.documents


def test_a_second_run_changes_nothing(tmp_path: Path) -> None:
    """The keys of the first run are kept, and all files are the same to the byte."""
    config = cluster_of(FULL, tmp_path)
    write_manifests(config, tmp_path / "out")
    before = content(tmp_path / "out")
    write_manifests(config, tmp_path / "out")
    assert content(tmp_path / "out") == before


def test_secrets_are_private(tmp_path: Path) -> None:
    """Two runs elsewhere make other keys; only the owner reads them, and git does not take them."""
    config = cluster_of(SMALL, tmp_path)
    for name in ("a", "b"):
        write_manifests(config, tmp_path / name)
    assert not set(secrets_in(tmp_path / "a")) & set(secrets_in(tmp_path / "b"))
    assert stat.S_IMODE((tmp_path / "a" / SECRETS).stat().st_mode) == 0o600
    assert [path for path in (tmp_path / "a").rglob("*secrets*") if path.is_file()] == [tmp_path / "a" / SECRETS]
    assert "secrets/" in (tmp_path / "a" / ".gitignore").read_text().splitlines()


def test_only_the_secrets_file_has_secrets(tmp_path: Path) -> None:
    """What is applied again and again, by kubectl or by kustomize, holds no Secret that could replace another one."""
    write_manifests(cluster_of(FULL, tmp_path), tmp_path / "out")
    kinds = {
        name: [document["kind"] for document in yaml.safe_load_all(text) if "kind" in document]
        for name, text in content(tmp_path / "out").items()
        if "kustomization" in name or "-" not in name.rpartition("/")[2].partition(".")[0] or name[0].isdigit()
    }
    assert [name for name, found in kinds.items() if "Secret" in found] == []
    assert [one["kind"] for one in yaml.safe_load_all((tmp_path / "out" / SECRETS).read_text())] == ["Secret"] * 4


def test_secrets_of_an_earlier_version(tmp_path: Path) -> None:
    """Secrets that an earlier version wrote among the other files are kept, and moved."""
    write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    before = secrets_in(tmp_path / "out")
    (tmp_path / "out" / SECRETS).rename(tmp_path / "out" / "03-secrets.yaml")
    write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    assert secrets_in(tmp_path / "out") == before
    assert not (tmp_path / "out" / "03-secrets.yaml").exists()


def test_a_changed_password(tmp_path: Path) -> None:
    """A password or a user that was changed in the folder stays, and starts Redis and the proxies anew."""
    write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    before = content(tmp_path / "out")
    path = tmp_path / "out" / SECRETS
    path.write_text(path.read_text().replace(secrets_in(tmp_path / "out")[1], "another"))
    write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    after = content(tmp_path / "out")
    assert secrets_in(tmp_path / "out")[1] == "another"
    changed = {name for name in before if before[name] != after[name] and "/" not in name}
    assert changed == {"04-redis.yaml", "06-proxy.yaml"}


def test_parts_that_are_no_more(tmp_path: Path) -> None:
    """Files of an earlier configuration are gone; files of others stay."""
    write_manifests(cluster_of(FULL, tmp_path), tmp_path / "out")
    (tmp_path / "out" / "mine.yaml").write_text("a: b")
    written = write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    assert set(content(tmp_path / "out")) == {path.relative_to(tmp_path / "out").as_posix() for path in written} | {
        "mine.yaml"
    }
    assert not (tmp_path / "out" / "09-events.yaml").exists()


def test_secrets_that_cannot_be_read(tmp_path: Path) -> None:
    """A damaged file of secrets is not written over."""
    (tmp_path / "out" / "secrets").mkdir(parents=True)
    (tmp_path / "out" / SECRETS).write_text("[")
    with pytest.raises(InvalidConfig, match="the secrets of an earlier run"):
        write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "out")
    assert (tmp_path / "out" / SECRETS).read_text() == "["


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    """The option that names it is named."""
    (tmp_path / "file").touch()
    with pytest.raises(InvalidConfig, match="--output"):
        write_manifests(cluster_of(SMALL, tmp_path), tmp_path / "file")


def secrets_in(folder: Path) -> tuple[str, str]:
    documents = list(yaml.safe_load_all((folder / SECRETS).read_text()))
    found = {document["metadata"]["name"]: document["stringData"] for document in documents}
    assert f">{found['skylark-redis']['password']} " in found["skylark-redis"]["users.acl"]
    return found["skylark-peer-key"]["key"], found["skylark-redis"]["password"]
