"""Credentials are found where Docker and Podman keep them, for the registry that they are for and no other."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from skylark_oci.credentials import Credentials, find_credentials
from skylark_oci.errors import InvalidCredentials

Environment = dict[str, str]


def auth(user: str, password: str) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


def write(path: Path, **content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


@pytest.fixture
def home(tmp_path: Path) -> Environment:
    """An environment with folders of its own."""
    return {"HOME": str(tmp_path / "home"), "XDG_RUNTIME_DIR": str(tmp_path / "run"), "PATH": str(tmp_path / "bin")}


@pytest.fixture
def docker(home: Environment) -> Path:
    return Path(home["HOME"]) / ".docker" / "config.json"


@pytest.fixture
def podman(home: Environment) -> Path:
    return Path(home["XDG_RUNTIME_DIR"]) / "containers" / "auth.json"


Helper = Callable[[str], Path]


@pytest.fixture
def helper(home: Environment) -> Helper:
    """Makes the program `docker-credential-test` from the body of a shell script; `$server` is what it is asked for."""

    def make(body: str) -> Path:
        path = Path(home["PATH"]) / "docker-credential-test"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\nread -r server\n{body}\n")
        path.chmod(0o755)
        return path

    return make


def found(home: Environment, host: str = "registry.example", repository: str = "team/app") -> Credentials | None:
    answer = find_credentials(host, repository, home)
    return None if answer is None else answer[0]


def test_without_any_file_there_are_none(home: Environment) -> None:
    """A registry is then asked without credentials."""
    assert found(home) is None


def test_dockers_file(home: Environment, docker: Path) -> None:
    """User and password come from `auth`; the file is named as their source, and neither is in a log."""
    write(docker, auths={"registry.example": auth("user", "pass:word")})
    answer = find_credentials("registry.example", "app", home)
    assert answer == (Credentials("user", "pass:word"), str(docker))
    assert "word" not in repr(answer)
    assert found(home, "other.example") is None
    assert found(home, "registry.example:5000") is None


def test_docker_config_names_the_folder(home: Environment, tmp_path: Path) -> None:
    """DOCKER_CONFIG is a folder, as for docker itself."""
    write(tmp_path / "elsewhere" / "config.json", auths={"registry.example": auth("u", "p")})
    assert found(home | {"DOCKER_CONFIG": str(tmp_path / "elsewhere")}) == Credentials("u", "p")


def test_podmans_file_comes_first(home: Environment, docker: Path, podman: Path) -> None:
    """What podman login wrote wins; what it lacks is looked for in Docker's file."""
    write(podman, auths={"registry.example": auth("podman", "p")})
    write(docker, auths={"registry.example": auth("docker", "d"), "other.example": auth("other", "o")})
    assert found(home) == Credentials("podman", "p")
    assert found(home, "other.example") == Credentials("other", "o")


def test_podmans_file_of_a_machine_without_runtime_folder(home: Environment) -> None:
    """It is then in ~/.config."""
    write(Path(home["HOME"]) / ".config" / "containers" / "auth.json", auths={"registry.example": auth("u", "p")})
    assert found(home) == Credentials("u", "p")


def test_registry_auth_file_is_the_only_one(home: Environment, docker: Path, tmp_path: Path) -> None:
    """Who names a file means that one; a missing one is a mistake that is told."""
    write(docker, auths={"registry.example": auth("docker", "d")})
    named = write(tmp_path / "auth.json", auths={"other.example": auth("o", "o")})
    assert found(home | {"REGISTRY_AUTH_FILE": str(named)}) is None
    with pytest.raises(InvalidCredentials, match=r"REGISTRY_AUTH_FILE=/nowhere: no such file"):
        found(home | {"REGISTRY_AUTH_FILE": "/nowhere"})


def test_the_narrowest_entry_wins(home: Environment, podman: Path) -> None:
    """Podman keeps credentials of a namespace or a repository too."""
    write(
        podman,
        auths={
            "registry.example": auth("all", "1"),
            "registry.example/team": auth("team", "2"),
            "registry.example/team/app": auth("app", "3"),
        },
    )
    assert found(home, repository="team/app") == Credentials("app", "3")
    assert found(home, repository="team/tool/x") == Credentials("team", "2")
    assert found(home, repository="teams/app") == Credentials("all", "1")


@pytest.mark.parametrize("key", ["https://index.docker.io/v1/", "docker.io", "index.docker.io"])
def test_docker_hub_by_all_its_names(home: Environment, docker: Path, key: str) -> None:
    """docker login writes a name that no reference has."""
    write(docker, auths={key: auth("u", "p")})
    assert found(home, "docker.io", "library/app") == Credentials("u", "p")


def test_older_forms_of_an_entry(home: Environment, docker: Path) -> None:
    """A key with a scheme, a user beside the password, and an identity token."""
    write(
        docker,
        auths={
            "https://a.example/v2/": auth("u", "p"),
            "b.example": {"username": "u2", "password": "p2"},
            "c.example": {**auth("u3", ""), "identitytoken": "token"},
        },
    )
    assert found(home, "a.example") == Credentials("u", "p")
    assert found(home, "b.example") == Credentials("u2", "p2")
    assert found(home, "c.example") == Credentials(identity_token="token")


def test_a_helper_of_one_registry(home: Environment, docker: Path, helper: Helper) -> None:
    """`credHelpers` names a program, which is asked for the registry by its name."""
    helper('echo "{\\"ServerURL\\": \\"$server\\", \\"Username\\": \\"for $server\\", \\"Secret\\": \\"s\\"}"')
    write(docker, credHelpers={"registry.example": "test"})
    assert found(home) == Credentials("for registry.example", "s")
    assert found(home, "other.example") is None


def test_a_store_for_all(home: Environment, docker: Path, helper: Helper) -> None:
    """With `credsStore` the entries are empty, and the program has the secrets; Docker Hub has its own name there."""
    helper('echo "{\\"Username\\": \\"$server\\", \\"Secret\\": \\"s\\"}"')
    write(docker, auths={"registry.example": {}}, credsStore="test")
    assert found(home) == Credentials("registry.example", "s")
    assert found(home, "docker.io") == Credentials("https://index.docker.io/v1/", "s")


def test_a_helper_with_an_identity_token(home: Environment, docker: Path, helper: Helper) -> None:
    """The user <token> marks one."""
    helper('echo "{\\"Username\\": \\"<token>\\", \\"Secret\\": \\"it\\"}"')
    write(docker, credsStore="test")
    assert found(home) == Credentials(identity_token="it")


def test_a_helper_that_has_none(home: Environment, docker: Path, helper: Helper) -> None:
    """It says so with an error that is none."""
    helper("echo credentials not found in native keychain; exit 1")
    write(docker, credsStore="test")
    assert found(home) is None


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("echo the keychain is locked; exit 1", "failed with status 1: the keychain is locked"),
        ("echo not json", "did not answer with JSON"),
        ("echo '{}'", "did not answer with JSON"),
    ],
)
def test_a_helper_that_fails_is_named(home: Environment, docker: Path, helper: Helper, body: str, reason: str) -> None:
    """Its name and what it said are in the error."""
    helper(body)
    write(docker, credsStore="test")
    with pytest.raises(InvalidCredentials, match=f"docker-credential-test: {reason}"):
        found(home)


@pytest.mark.parametrize("name", ["missing", "../../evil", "a b"])
def test_a_helper_that_is_missing_is_named(home: Environment, docker: Path, name: str) -> None:
    """Only a program in PATH is a helper; a path is none."""
    write(docker, credsStore=name)
    with pytest.raises(InvalidCredentials, match=r"docker-credential-.*: no such program in PATH"):
        found(home)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("not json", "not a readable credentials file"),
        ('{"auths": []}', "not a readable credentials file"),
        ('{"auths": {"registry.example": {"auth": "%%"}}}', "`auth` is not base64 of user:password"),
        ('{"auths": {"registry.example": {"auth": "dXNlcg=="}}}', "`auth` is not base64 of user:password"),
    ],
)
def test_a_damaged_file_is_named(home: Environment, docker: Path, text: str, reason: str) -> None:
    """The path and what is wrong are in the error; no secret is."""
    docker.parent.mkdir(parents=True)
    docker.write_text(text)
    with pytest.raises(InvalidCredentials) as raised:
        found(home)
    assert str(docker) in raised.value.message and reason in raised.value.message
