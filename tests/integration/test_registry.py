"""Packages in real registries: pushed, pulled and run, with links that break, and understood by other tools."""

import base64
import contextlib
import json
import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from programs import program
from registries import (
    PASSWORD,
    USER,
    Fault,
    FaultyRegistry,
    LiveRegistry,
    Tokens,
    faulty,
    run_registry,
    run_registry_with_password,
    run_registry_with_tokens,
)
from skylark_oci import Metadata, Reference
from skylark_oci.credentials import find_credentials
from skylark_oci.documents import Descriptor, digest_of
from skylark_oci.errors import (
    AccessDenied,
    DigestMismatch,
    InvalidPackage,
    InvalidReference,
    NotInRegistry,
    RegistryError,
    RegistryUnavailable,
    Truncated,
)
from skylark_oci.images import Form
from skylark_oci.layout import Layout, write_layout
from skylark_oci.packages import package
from skylark_oci.pull import pull
from skylark_oci.push import push
from skylark_oci.registry import Registry
from skylark_oci.settings import RegistrySettings, Retries
from skylark_oci.transport import Transport
from skylark_oci.wasm import custom_section
from skylark_proxy.components import ComponentNotPulled, component_files
from wasm_files import COMPONENT, OTHER_WORLD, wasm_file

CONTENT = wasm_file(COMPONENT) + custom_section("padding", os.urandom(600_000))
"""A component that is large enough to be cut in the middle, and new to every registry."""

METADATA = Metadata(version="1.0", title="App", licenses="Apache-2.0")
QUICK = Retries(attempts=4, first_s=0.01)
SETTINGS = RegistrySettings(credentials=lambda _host, _repository: None, retries=QUICK)
BLOBS = r"/v2/.*/blobs/sha256"


@pytest.fixture(scope="module")
def layout() -> Layout:
    return package(CONTENT, "app", METADATA).layout()


@pytest.fixture(scope="module")
def registry() -> Iterator[LiveRegistry]:
    with run_registry() as running:
        yield running


@pytest.fixture
def proxy(registry: LiveRegistry) -> Iterator[FaultyRegistry]:
    with faulty(registry) as running:
        yield running


@pytest.fixture
def reference(registry: LiveRegistry, request: pytest.FixtureRequest) -> Reference:
    """A repository of this test alone."""
    name = "".join(letter if letter.isalnum() else "-" for letter in request.node.name.lower()).strip("-")
    while "--" in name:
        name = name.replace("--", "-")
    return Reference(registry.host, f"team/{name}"[:100].strip("-"), "1.0")


@pytest.fixture
def through(reference: Reference, proxy: FaultyRegistry) -> Reference:
    """The same repository, reached through the proxy that breaks things."""
    return Reference(proxy.host, reference.repository, reference.tag)


def pushed(layout: Layout, reference: Reference, settings: RegistrySettings = SETTINGS) -> dict[Form, Reference]:
    return push(layout, "layout", reference, settings).references


class TestPushAndPull:
    @pytest.mark.parametrize("form", Form)
    def test_what_was_pushed_is_pulled(self, layout: Layout, reference: Reference, tmp_path: Path, form: Form) -> None:
        """The component comes back byte for byte in either form, by tag and by digest."""
        pinned = pushed(layout, reference)[form]
        assert pinned.tag == {Form.IMAGE: "1.0", Form.ARTIFACT: "1.0-artifact"}[form]
        for one in (pinned, reference.tagged(pinned.tag)):
            resolved = pull(one, tmp_path / "app.wasm", SETTINGS)
            assert (resolved.form, resolved.reference) == (form, pinned)
            assert (tmp_path / "app.wasm").read_bytes() == CONTENT
        assert [path.name for path in tmp_path.iterdir()] == ["app.wasm"]

    def test_a_single_form(self, layout: Layout, reference: Reference, tmp_path: Path) -> None:
        """The artifact alone has the tag itself, as tools for artifacts expect it."""
        done = push(layout, "layout", reference, SETTINGS, (Form.ARTIFACT,))
        assert [one.tag for one in done.references.values()] == ["1.0"]
        assert pull(reference, tmp_path / "app.wasm", SETTINGS).form is Form.ARTIFACT
        with pytest.raises(NotInRegistry, match=r":1\.0-artifact: not in the registry"):
            pull(reference.tagged("1.0-artifact"), tmp_path / "x.wasm", SETTINGS)

    def test_progress(self, layout: Layout, reference: Reference, tmp_path: Path) -> None:
        """Each content is reported up to its whole size, on the way there and back."""
        seen: dict[str, list[int]] = {}
        sizes: dict[str, int] = {}

        def report(descriptor: Descriptor, done: int) -> None:
            seen.setdefault(descriptor.digest, []).append(done)
            sizes[descriptor.digest] = descriptor.size

        push(layout, "layout", reference, SETTINGS, progress=report)
        assert {digest: steps[-1] for digest, steps in seen.items()} == sizes
        assert digest_of(CONTENT) in seen and len(seen[digest_of(CONTENT)]) > 2
        seen.clear()
        pull(reference.tagged("1.0-artifact"), tmp_path / "app.wasm", SETTINGS, report)
        assert seen[digest_of(CONTENT)][-1] == len(CONTENT)

    def test_what_the_registry_has_is_not_sent_again(
        self, layout: Layout, through: Reference, proxy: FaultyRegistry
    ) -> None:
        """A second push sends manifests only; under another tag too."""
        first = push(layout, "layout", through, SETTINGS)
        assert (first.skipped_bytes, proxy.count("PUT", "/blobs/uploads/")) == (0, 6)
        again = push(layout, "layout", through.tagged("2.0"), SETTINGS)
        assert (again.sent_bytes, again.skipped_bytes) == (0, first.sent_bytes)
        assert proxy.count("PUT", "/blobs/uploads/") == 6

    def test_bills_of_materials_refer_to_their_manifests(self, layout: Layout, reference: Reference) -> None:
        """Without the referrers API they are found by the tag that stands in for it, once however often pushed."""
        for _ in range(2):
            references = pushed(layout, reference)
        with Registry(reference, "pull", SETTINGS) as opened:
            for one in references.values():
                (referrer,) = opened.referrers(str(one.digest))
                assert referrer.artifact_type == "application/vnd.cyclonedx+json"
                manifest = json.loads(opened.manifest(referrer.digest)[0])
                assert manifest["subject"]["digest"] == one.digest

    def test_other_referrers_are_kept(self, layout: Layout, reference: Reference) -> None:
        """A signature that somebody else attached is still there after a push."""
        image = pushed(layout, reference)[Form.IMAGE]
        other = package(wasm_file(OTHER_WORLD), "other", METADATA).sboms[Form.ARTIFACT]
        with Registry(reference, "pull,push", SETTINGS) as opened:
            for descriptor in (other.manifest.config, *other.manifest.layers):
                opened.upload(descriptor, other.blobs[descriptor.digest], lambda _done: None)
            opened.put_manifest(other.descriptor.digest, other.content, other.descriptor.media_type)
            opened.add_referrer(str(image.digest), other.descriptor)
        pushed(layout, reference)
        with Registry(reference, "pull", SETTINGS) as opened:
            assert other.descriptor.digest in [one.digest for one in opened.referrers(str(image.digest))]
            assert len(opened.referrers(str(image.digest))) == 2

    def test_a_proxy_is_used(
        self,
        layout: Layout,
        reference: Reference,
        proxy: FaultyRegistry,
        monkeypatch: pytest.MonkeyPatch,
        tmp_path: Path,
    ) -> None:
        """A registry is reached through `http_proxy`, unless it is on this machine or in `no_proxy`."""
        elsewhere = Reference("registry.invalid:5000", reference.repository, "1.0")
        plain = RegistrySettings((elsewhere.host,), SETTINGS.credentials, Retries(attempts=1))
        monkeypatch.setenv("http_proxy", f"http://{proxy.host}")
        monkeypatch.delenv("no_proxy", raising=False)
        pushed(layout, elsewhere, plain)
        pull(elsewhere, tmp_path / "app.wasm", plain)
        assert proxy.count("GET", r"^http://registry\.invalid:5000/v2/") > 0
        proxy.requests.clear()
        pull(reference, tmp_path / "app.wasm", plain)
        monkeypatch.setenv("no_proxy", "registry.invalid")
        with pytest.raises(RegistryUnavailable, match="cannot be reached"):
            pull(elsewhere, tmp_path / "app.wasm", plain)
        assert proxy.requests == []

    def test_an_index_leads_to_its_component(self, layout: Layout, reference: Reference, tmp_path: Path) -> None:
        """Of an index with images of other platforms, the one of Wasm is pulled; the reference is that of the index."""
        pushed(layout, reference)
        linux = layout.index.manifests[-1]
        entries = [
            {**json.loads(linux.encode()), "platform": {"architecture": "amd64", "os": "linux"}},
            *(json.loads(entry.encode()) for entry in layout.index.manifests if entry.platform),
        ]
        index = json.dumps({"schemaVersion": 2, "manifests": entries})
        with Registry(reference, "pull,push", SETTINGS) as opened:
            opened.put_manifest("both", index.encode(), "application/vnd.oci.image.index.v1+json")
        resolved = pull(reference.tagged("both"), tmp_path / "app.wasm", SETTINGS)
        assert resolved.reference.digest == digest_of(index.encode())
        assert (tmp_path / "app.wasm").read_bytes() == CONTENT


class TestLinksThatBreak:
    @pytest.mark.parametrize(
        "fault",
        [
            Fault("HEAD", BLOBS, "status"),
            Fault("POST", "/blobs/uploads/", "status", times=2),
            Fault("POST", "/blobs/uploads/", "status", status=429, headers={"Retry-After": "0"}),
            Fault("POST", "/blobs/uploads/", "refuse"),
            Fault("PUT", "/blobs/uploads/", "status", status=500),
            Fault("PUT", "/blobs/uploads/", "refuse", times=2),
            Fault("PUT", "/blobs/uploads/", "lose-answer"),
            Fault("PUT", "/manifests/", "status", status=502),
            Fault("PUT", "/manifests/", "lose-answer"),
        ],
        ids=lambda fault: f"{fault.method}-{fault.action}-{fault.status}",
    )
    def test_a_push_goes_on(
        self,
        layout: Layout,
        reference: Reference,
        through: Reference,
        proxy: FaultyRegistry,
        tmp_path: Path,
        fault: Fault,
    ) -> None:
        """What breaks a few times is tried again, and all arrives."""
        fault = Fault(fault.method, fault.path, fault.action, fault.times, fault.status, fault.headers)
        proxy.faults.append(fault)
        pushed(layout, through)
        assert fault.times == 0
        for tag in ("1.0", "1.0-artifact"):
            pull(reference.tagged(tag), tmp_path / "app.wasm", SETTINGS)
            assert (tmp_path / "app.wasm").read_bytes() == CONTENT

    def test_a_lost_answer_sends_nothing_twice(self, layout: Layout, through: Reference, proxy: FaultyRegistry) -> None:
        """A blob that arrived though nobody said so is not sent again."""
        proxy.faults.append(Fault("PUT", "/blobs/uploads/", "lose-answer"))
        pushed(layout, through)
        assert proxy.count("PUT", "/blobs/uploads/") == 6

    @pytest.mark.parametrize(
        "fault",
        [
            Fault("GET", "/manifests/", "status"),
            Fault("GET", "/manifests/", "cut"),
            Fault("GET", "/manifests/", "refuse"),
            Fault("GET", BLOBS, "status", status=429, headers={"Retry-After": "0"}),
            Fault("GET", BLOBS, "refuse", times=2),
            Fault("GET", BLOBS, "cut", times=3),
            Fault("GET", BLOBS, "short"),
        ],
        ids=lambda fault: f"{fault.path[-9:-1]}-{fault.action}",
    )
    @pytest.mark.parametrize("form", Form)
    def test_a_pull_goes_on(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path,
        fault: Fault, form: Form,
    ) -> None:  # fmt: skip
        """What breaks a few times is tried again, and the component is whole."""
        tag = pushed(layout, reference)[form].tag
        fault = Fault(fault.method, fault.path, fault.action, fault.times, fault.status, fault.headers)
        proxy.faults.append(fault)
        pull(through.tagged(str(tag)), tmp_path / "app.wasm", SETTINGS)
        assert fault.times == 0
        assert (tmp_path / "app.wasm").read_bytes() == CONTENT

    def test_a_download_goes_on_where_it_broke_off(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path
    ) -> None:
        """Only the rest is asked for, and more breaks than attempts are survived as long as it gets on."""
        pushed(layout, reference)
        proxy.faults.append(Fault("GET", BLOBS, "cut", times=QUICK.attempts + 1))
        pull(through.tagged("1.0-artifact"), tmp_path / "app.wasm", SETTINGS)
        ranges = [found for method, path, found in proxy.requests if method == "GET" and "/blobs/" in path]
        assert ranges[0] is None
        starts = [int(str(found).removeprefix("bytes=").removesuffix("-")) for found in ranges[1:]]
        assert len(starts) == QUICK.attempts + 1
        assert starts == sorted(starts) and starts[0] == len(CONTENT) // 2
        assert (tmp_path / "app.wasm").read_bytes() == CONTENT

    @pytest.mark.parametrize(
        ("action", "error", "named"),
        [
            ("short", Truncated, "ended after"),
            ("corrupt", DigestMismatch, "expected the content of sha256:"),
            ("status", RegistryUnavailable, "status 503: not now"),
            ("refuse", RegistryUnavailable, "cannot be reached"),
        ],
    )
    @pytest.mark.parametrize("tag", ["1.0", "1.0-artifact"])
    def test_what_stays_broken_is_refused(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path,
        action: Any, error: type[Exception], named: str, tag: str,
    ) -> None:  # fmt: skip
        """The error says what was wrong; an earlier file is as it was, and nothing else is left behind."""
        pushed(layout, reference)
        (tmp_path / "app.wasm").write_bytes(b"the earlier one")
        proxy.faults.append(Fault("GET", BLOBS, action, times=1000))
        with pytest.raises(error, match=named):
            pull(through.tagged(tag), tmp_path / "app.wasm", SETTINGS)
        assert [path.name for path in tmp_path.iterdir()] == ["app.wasm"]
        assert (tmp_path / "app.wasm").read_bytes() == b"the earlier one"

    def test_a_changed_manifest_is_refused(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path
    ) -> None:
        """A pinned reference means its content, whoever is in between."""
        pinned = pushed(layout, reference)[Form.ARTIFACT]
        proxy.faults.append(Fault("GET", "/manifests/", "corrupt"))
        with pytest.raises(DigestMismatch, match=str(pinned.digest)):
            pull(through.pinned(str(pinned.digest)), tmp_path / "app.wasm", SETTINGS)

    def test_an_interrupted_push_is_taken_up(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path
    ) -> None:
        """A push that gave up is repeated later, and sends only what is missing."""
        proxy.faults.append(Fault("PUT", f"/blobs/uploads/.*{digest_of(CONTENT)[7:]}", "refuse", times=1000))
        with pytest.raises(RegistryUnavailable):
            pushed(layout, through)
        done = push(layout, "layout", reference, SETTINGS)
        assert done.skipped_bytes > 500_000
        assert done.sent_bytes < len(CONTENT) + 10_000
        pull(reference.tagged("1.0-artifact"), tmp_path / "app.wasm", SETTINGS)

    def test_a_long_wait_is_not_obeyed(self, layout: Layout, through: Reference, proxy: FaultyRegistry) -> None:
        """A registry that asks to be left alone for a day does not hold a push for longer than the limit."""
        settings = RegistrySettings(SETTINGS.plain_http, SETTINGS.credentials, Retries(2, 0.01, 0.02))
        proxy.faults.append(Fault("POST", "/blobs/", "status", status=429, headers={"Retry-After": "86400"}))
        pushed(layout, through, settings)


Find = Callable[[Mapping[str, Any]], RegistrySettings]


@pytest.fixture
def known(tmp_path: Path) -> Find:
    """Settings whose credentials are in a file, as `docker login` would write it."""

    def settings(auths: Mapping[str, Any]) -> RegistrySettings:
        path = tmp_path / "auth.json"
        path.write_text(json.dumps({"auths": auths}))
        finder = partial(find_credentials, environment={"REGISTRY_AUTH_FILE": str(path)})
        return RegistrySettings(credentials=finder, retries=QUICK)

    return settings


def login(user: str = USER, password: str = PASSWORD) -> dict[str, str]:
    return {"auth": base64.b64encode(f"{user}:{password}".encode()).decode()}


@pytest.fixture(scope="module")
def locked() -> Iterator[LiveRegistry]:
    with run_registry_with_password() as running:
        yield running


@pytest.fixture(scope="module")
def with_tokens() -> Iterator[tuple[LiveRegistry, Tokens]]:
    with run_registry_with_tokens() as running:
        yield running


@pytest.fixture
def tokens(with_tokens: tuple[LiveRegistry, Tokens]) -> Tokens:
    """The token service, which grants all to USER and has not been asked yet."""
    service = with_tokens[1]
    service.grants = {USER: ["pull", "push"]}
    service.asked.clear()
    return service


@pytest.fixture
def there(with_tokens: tuple[LiveRegistry, Tokens]) -> Reference:
    return Reference(with_tokens[0].host, "team/app", "1.0")


class TestBasic:
    def test_credentials_are_used(self, layout: Layout, locked: LiveRegistry, known: Find, tmp_path: Path) -> None:
        """With user and password a package is pushed and pulled."""
        reference = Reference(locked.host, "team/app", "1.0")
        settings = known({locked.host: login()})
        pushed(layout, reference, settings)
        pull(reference, tmp_path / "app.wasm", settings)
        assert (tmp_path / "app.wasm").read_bytes() == CONTENT

    def test_without_credentials(self, layout: Layout, locked: LiveRegistry, known: Find) -> None:
        """The error says that there are none, and which command keeps them."""
        with pytest.raises(AccessDenied, match=rf"none were found for it \(`docker login {locked.host}`"):
            pushed(layout, Reference(locked.host, "team/app", "1.0"), known({"other.example": login()}))

    def test_wrong_credentials(self, layout: Layout, locked: LiveRegistry, known: Find, tmp_path: Path) -> None:
        """The error names the file that they come from, and not the password."""
        with pytest.raises(AccessDenied) as raised:
            pushed(layout, Reference(locked.host, "team/app", "1.0"), known({locked.host: login(password="wrong one")}))
        assert str(tmp_path / "auth.json") in raised.value.message
        assert "wrong one" not in raised.value.message

    def test_no_credentials_for_a_storage_elsewhere(
        self,
        layout: Layout,
        reference: Reference,
        registry: LiveRegistry,
        locked: LiveRegistry,
        known: Find,
        tmp_path: Path,
    ) -> None:
        """A registry may send a download or an upload to another host; that one gets no credentials."""
        pushed(layout, reference)
        with faulty(locked) as front, faulty(registry) as storage:
            there, settings = Reference(front.host, reference.repository, "1.0"), known({front.host: login()})
            pushed(layout, there, settings)
            path = f"/v2/{reference.repository}/blobs"
            target = {"Location": f"http://{storage.host}{path}/{digest_of(CONTENT)}"}
            front.faults.append(Fault("GET", digest_of(CONTENT), "status", status=307, headers=target))
            pull(there.tagged("1.0-artifact"), tmp_path / "app.wasm", settings)
            assert (storage.count("GET", BLOBS), storage.authorizations) == (1, [None])
            opened = {"Location": f"http://{storage.host}{path}/uploads/1"}
            front.faults.append(Fault("POST", "/blobs/uploads/", "status", times=9, status=202, headers=opened))
            with pytest.raises(RegistryError):
                push(package(wasm_file(OTHER_WORLD), "app", METADATA).layout(), "layout", there, settings)
            assert storage.count("PUT", "/blobs/uploads/1") >= 1
            assert set(storage.authorizations) == {None}
            assert set(front.authorizations[1:]) != {None}


class TestTokens:
    @pytest.mark.parametrize("entry", [login(), {"identitytoken": "an identity token"}])
    def test_a_token_is_fetched(
        self, layout: Layout, there: Reference, tokens: Tokens, known: Find, tmp_path: Path, entry: dict[str, str]
    ) -> None:
        """With a password or an identity token; one token is enough for a push, and one for a pull."""
        settings = known({there.host: entry})
        pushed(layout, there, settings)
        pull(there, tmp_path / "app.wasm", settings)
        assert (tmp_path / "app.wasm").read_bytes() == CONTENT
        assert tokens.asked == [
            (USER, "repository:team/app:pull,push"),
            (USER, "repository:team/app:pull"),
        ]

    def test_anybody_may_pull(
        self, layout: Layout, there: Reference, tokens: Tokens, known: Find, tmp_path: Path
    ) -> None:
        """A token that nobody's credentials are needed for is fetched without any."""
        pushed(layout, there, known({there.host: login()}))
        tokens.grants[""] = ["pull"]
        pull(there, tmp_path / "app.wasm", known({}))
        assert tokens.asked[-1] == ("", "repository:team/app:pull")

    def test_who_may_only_pull(self, layout: Layout, there: Reference, tokens: Tokens, known: Find) -> None:
        """A push is denied, and the error says what was tried and with whose credentials."""
        tokens.grants[USER] = ["pull"]
        with pytest.raises(AccessDenied, match=r"pushing is denied .*the credentials are those of .*auth\.json"):
            pushed(layout, there, known({there.host: login()}))

    def test_a_wrong_password(self, layout: Layout, there: Reference, tokens: Tokens, known: Find) -> None:
        """What the token service says is passed on."""
        with pytest.raises(AccessDenied, match=r"gives no token \(status 401: wrong user or password\)"):
            pushed(layout, there, known({there.host: login(password="x")}))


class TestErrors:
    def test_a_registry_that_is_away(self, layout: Layout) -> None:
        """The error names it, says why, and that it can be tried again."""
        settings = RegistrySettings(retries=Retries(attempts=1))
        with pytest.raises(
            RegistryUnavailable, match=r"registry 127\.0\.0\.1:1: cannot be reached \(.*refused"
        ) as raised:
            pushed(layout, Reference("127.0.0.1:1", "app", "1.0"), settings)
        assert raised.value.retryable

    @pytest.mark.parametrize("tag", ["none", "sha256:" + "0" * 64])
    def test_a_tag_that_does_not_exist(self, registry: LiveRegistry, tmp_path: Path, tag: str) -> None:
        """The error has the whole reference; a retry cannot help."""
        reference = (
            Reference(registry.host, "team/nothing", None, tag) if ":" in tag else Reference(registry.host, "a", tag)
        )
        with pytest.raises(NotInRegistry, match=tag) as raised:
            pull(reference, tmp_path / "app.wasm", SETTINGS)
        assert not raised.value.retryable

    def test_a_pinned_reference_cannot_be_pushed_to(self, layout: Layout, reference: Reference) -> None:
        """The digest is what comes out of a push, not what goes in."""
        with pytest.raises(InvalidReference, match="a tag to push to, without a digest"):
            pushed(layout, reference.pinned("sha256:" + "0" * 64))

    def test_an_image_that_is_no_component(self, registry: LiveRegistry, reference: Reference, tmp_path: Path) -> None:
        """A Linux image is refused for what it is, before its layers are pulled."""
        config = json.dumps(
            {
                "architecture": "amd64",
                "os": "linux",
                "config": {"Cmd": ["/bin/sh"]},
                "rootfs": {"type": "layers", "diff_ids": []},
            }
        ).encode()
        described = Descriptor(
            media_type="application/vnd.oci.image.config.v1+json", digest=digest_of(config), size=len(config)
        )
        manifest = json.dumps({"schemaVersion": 2, "config": json.loads(described.encode()), "layers": []}).encode()
        with Registry(reference, "pull,push", SETTINGS) as opened:
            opened.upload(described, config, lambda _done: None)
            opened.put_manifest("1.0", manifest, "application/vnd.oci.image.manifest.v1+json")
        with pytest.raises(InvalidPackage, match=r"an entrypoint that ends in \.wasm, not '/bin/sh'"):
            pull(reference, tmp_path / "app.wasm", SETTINGS)

    def test_a_bill_of_materials_is_no_component(self, layout: Layout, reference: Reference, tmp_path: Path) -> None:
        """An artifact of another kind is refused."""
        pushed(layout, reference)
        sbom = next(
            entry for entry in layout.index.manifests if entry.artifact_type == "application/vnd.cyclonedx+json"
        )
        with pytest.raises(InvalidPackage, match="a Wasm artifact, or an image of the platform wasi/wasm"):
            pull(reference.pinned(sbom.digest), tmp_path / "app.wasm", SETTINGS)

    def test_a_layout_without_the_form(self, layout: Layout, reference: Reference) -> None:
        """A layout of other things has nothing to push; the error says which tags it has."""
        index = type(layout.index)(schema_version=2, manifests=layout.index.manifests[1:])
        with pytest.raises(InvalidPackage, match=r"in the form image; it has the tags 1\.0-artifact"):
            pushed(Layout(index, layout.blobs), reference)

    def test_a_registry_without_tls(self, reference: Reference) -> None:
        """Where TLS is spoken to a registry that has none, the error says what to do about it."""
        hint = r"cannot be reached \(.*; if it speaks no TLS, say --plain-http"
        with contextlib.closing(Transport(reference, "pull")) as transport, pytest.raises(RegistryError, match=hint):
            transport.request("GET", transport.url("manifests/1.0"), "app")


class TestNodes:
    def test_a_reference_is_pulled_once(
        self, layout: Layout, reference: Reference, through: Reference, proxy: FaultyRegistry, tmp_path: Path
    ) -> None:
        """By tag the registry is asked for the digest each time, and for the content only once."""
        pushed(layout, reference)
        (first,) = component_files([through], tmp_path, SETTINGS)
        assert first.read_bytes() == CONTENT
        (again,) = component_files([through], tmp_path, SETTINGS)
        assert (again, proxy.count("GET", BLOBS), proxy.count("GET", "/manifests/1.0")) == (first, 2, 2)

    def test_pinned_it_works_without_the_registry(self, layout: Layout, tmp_path: Path) -> None:
        """Once pulled, a pinned reference needs nobody; by tag it does."""
        with run_registry() as gone:
            reference = Reference(gone.host, "team/app", "1.0")
            pinned = pushed(layout, reference)[Form.IMAGE]
            (file,) = component_files([pinned], tmp_path, SETTINGS)
        assert component_files([pinned], tmp_path, SETTINGS) == [file]
        with pytest.raises(ComponentNotPulled, match="cannot be reached"):
            component_files([reference], tmp_path, SETTINGS)

    def test_a_moved_tag_is_noticed(self, layout: Layout, reference: Reference, tmp_path: Path) -> None:
        """The next start runs what the tag means then."""
        pushed(layout, reference)
        (first,) = component_files([reference], tmp_path, SETTINGS)
        pushed(package(wasm_file(OTHER_WORLD), "app", METADATA).layout(), reference)
        (second,) = component_files([reference], tmp_path, SETTINGS)
        assert first != second
        assert second.read_bytes() == wasm_file(OTHER_WORLD)


class TestOtherTools:
    """What Debian's skopeo and umoci make of a layout, an archive and a registry."""

    @pytest.fixture
    def folder(self, layout: Layout, tmp_path: Path) -> Path:
        write_layout(layout, tmp_path / "app.oci")
        write_layout(layout, tmp_path / "app.tar")
        return tmp_path

    @pytest.fixture
    def skopeo(self) -> Callable[..., bytes]:
        command = program("skopeo", "skopeo")

        def run(*arguments: object) -> bytes:
            done = subprocess.run([command, *map(str, arguments)], capture_output=True, check=False)
            assert done.returncode == 0, done.stderr.decode()
            return done.stdout

        return run

    @pytest.mark.parametrize("source", ["oci:{}/app.oci", "oci-archive:{}/app.tar"])
    @pytest.mark.parametrize(("tag", "number"), [("1.0", 0), ("1.0-artifact", 1)])
    def test_skopeo_inspects(
        self, folder: Path, layout: Layout, skopeo: Callable[..., bytes], source: str, tag: str, number: int
    ) -> None:
        """The manifest of each tag is the one that was packaged, from a folder and an archive."""
        raw = skopeo("inspect", "--raw", f"{source.format(folder)}:{tag}")
        assert digest_of(raw) == layout.index.manifests[number].digest

    @pytest.mark.parametrize("tag", ["1.0", "1.0-artifact"])
    def test_skopeo_copies_to_a_registry_and_back(
        self, folder: Path, layout: Layout, reference: Reference, skopeo: Callable[..., bytes], tag: str
    ) -> None:
        """Pushed by skopeo it is pulled by us, and on the way back no byte has changed."""
        place = f"docker://{reference.tagged(tag)}"
        skopeo("copy", "--dest-tls-verify=false", "--preserve-digests", f"oci:{folder}/app.oci:{tag}", place)
        pull(reference.tagged(tag), folder / "app.wasm", SETTINGS)
        assert (folder / "app.wasm").read_bytes() == CONTENT
        skopeo("copy", "--src-tls-verify=false", "--preserve-digests", place, f"oci:{folder}/back:{tag}")
        assert skopeo("inspect", "--raw", f"oci:{folder}/back:{tag}") == skopeo(
            "inspect", "--raw", f"oci:{folder}/app.oci:{tag}"
        )

    def test_skopeo_reads_what_we_pushed(
        self, layout: Layout, reference: Reference, skopeo: Callable[..., bytes]
    ) -> None:
        """Platform, labels and layers, as any tool for images sees them."""
        pushed(layout, reference)
        seen = json.loads(skopeo("inspect", "--tls-verify=false", "--override-os", "wasi", f"docker://{reference}"))
        assert (seen["Os"], seen["Architecture"], len(seen["Layers"])) == ("wasi", "wasm", 1)
        assert seen["Digest"] == layout.index.manifests[0].digest
        assert {"1.0", "1.0-artifact"} <= set(seen["RepoTags"])

    def test_umoci_unpacks_the_root_filesystem(self, folder: Path) -> None:
        """It has the component under the path of the entrypoint, and nothing else."""
        command = program("umoci", "umoci")
        unpacked = folder / "rootfs"
        subprocess.run(
            [command, "raw", "unpack", "--rootless", "--image", f"{folder}/app.oci:1.0", str(unpacked)],
            check=True, capture_output=True,
        )  # fmt: skip
        assert [str(path.relative_to(unpacked)) for path in unpacked.rglob("*")] == ["app.wasm"]
        assert (unpacked / "app.wasm").read_bytes() == CONTENT
        assert (unpacked / "app.wasm").stat().st_mode & 0o777 == 0o755
