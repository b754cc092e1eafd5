"""Nodes that speak TLS: whom they believe, what travels, plain clients, and certificates that change."""

import contextlib
import datetime
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path

import httpx
import pytest

from continuum import LiveNode, Nodes, check_error, line, run_nodes, send_raw
from node_infos import run_node_info
from servers import free_port, run_redis, wait_for
from skylark import wire
from skylark_proxy.certificates import CA_CERT, make_certificates
from skylark_proxy.connections import open_pool
from skylark_proxy.signatures import Signer
from skylark_proxy.signed_requests import SignedRequests
from skylark_proxy.tls import TlsFiles
from skylark_proxy.topology import Topology
from taps import Tap

KEYED = {"SKYLARK_PEER_KEY": "the key of this continuum, which nobody else has"}
SECRET = b"what nobody on the way may read"
FIELDS = {"f": SECRET * 100}
BODY = b"".join(wire.encode(FIELDS))
LONG_AGO = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)


def settings_of(folder: Path, name: str) -> dict[str, str]:
    """The settings of a node whose certificate is in a folder with its authority's."""
    return {
        "SKYLARK_TLS_CERT": str(folder / f"{name}.crt"),
        "SKYLARK_TLS_KEY": str(folder / f"{name}.key"),
        "SKYLARK_TLS_CA": str(folder / CA_CERT),
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Certificates of sat and cloud."""
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder, {"sat": (), "cloud": ()})
    return folder


def serves(node: LiveNode) -> bool:
    """True once a node says that it serves."""
    return f"node {node.node.name} serves" in node.log()


@contextlib.contextmanager
def encrypted(
    folder: Path, settings: Mapping[str, str] = KEYED, of_node: Mapping[str, Mapping[str, str]] | None = None
) -> Iterator[Nodes]:
    """sat and cloud with TLS."""
    own = {name: settings_of(folder, name) | dict((of_node or {}).get(name, {})) for name in ("sat", "cloud")}
    with run_nodes(line("sat", "cloud"), settings=settings, of_node=own, ca=folder / CA_CERT, start=False) as nodes:
        for node in nodes.values():
            node.start()
        for node in nodes.values():  # the tests' clients may not believe it
            wait_for(partial(serves, node), "a node serves", 60)
        yield nodes


@pytest.fixture(scope="module")
def nodes(folder: Path) -> Iterator[Nodes]:
    """sat and cloud with TLS and a key; cloud has a second address without TLS."""
    with encrypted(folder, of_node={"cloud": {"SKYLARK_PLAIN_LISTEN": f"127.0.0.1:{free_port()}"}}) as nodes:
        yield nodes


def reasons(nodes: Nodes, chain: str, task: str = "t1") -> str:
    """Why sat kept a bundle that was for cloud."""
    placed = nodes["sat"].client.put_bundle(f"{chain}:{task}", FIELDS)
    assert placed["key"] == f"{chain}:sat:{task}"
    return "; ".join(attempt["error"] for attempt in placed["failed"])


class TestNodesWithTls:
    def test_what_nodes_do(self, nodes: Nodes, chain: str) -> None:
        """Forwarding, fetching, renewing and deleting work as without TLS, for bundles of every size."""
        for number, size in enumerate((10, 300_000, 9_000_000)):
            placed = nodes["sat"].client.put_bundle(f"{chain}:t{number}", {"f": bytes(size)})
            assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t{number}", [])
            fields, headers = nodes["sat"].client.get_bundle(placed["key"])
            assert (len(fields["f"]), headers["skylark-served-by"]) == (size, "cloud")
            nodes["sat"].client.delete_bundle(placed["key"])
        assert nodes["cloud"].held(chain) == []
        nodes["sat"].client.put_bundle(f"{chain}:t1", FIELDS, ack="local")
        wait_for(lambda: nodes["cloud"].held(chain) == [f"{chain}:sat:t1"], "the bundle was forwarded")

    def test_what_travels(self, folder: Path, chain: str) -> None:
        """Nothing of a bundle, its key or its chain can be read on the way."""
        topology = line("sat", "cloud")
        tap = Tap(topology.node("cloud").address)
        accepting = threading.Thread(target=tap.run)
        moved = [
            replace(node, address=tap.address) if node.name == "cloud" else node for node in topology.nodes.values()
        ]
        seen = Topology.build(moved, topology.links, topology.epoch)
        both = {name: settings_of(folder, name) for name in ("sat", "cloud")}
        ca = folder / CA_CERT
        with run_nodes(topology, ["cloud"], settings=KEYED, of_node=both, ca=ca) as cloud, tap.server:
            accepting.start()
            try:
                with run_nodes(seen, ["sat"], settings=KEYED, of_node=both, ca=ca) as sat:
                    assert sat["sat"].client.put_bundle(f"{chain}:t1", FIELDS)["key"] == f"{chain}:cloud:t1"
                    assert cloud["cloud"].held(chain) == [f"{chain}:cloud:t1"]
            finally:
                tap.server.shutdown(socket.SHUT_RDWR)
        for thread in (accepting, *tap.threads):
            thread.join(20)
        assert len(tap.recorded) > len(BODY)
        assert not any(text in tap.recorded for text in (SECRET, chain.encode(), b"HTTP/1.1"))

    def test_errors_of_the_protocol(self, nodes: Nodes) -> None:
        """What is no request is answered by TLS too, and the connection is closed."""
        host, port = nodes["cloud"].node.address.split(":")
        context = ssl.create_default_context()
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection((host, int(port)), 20) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            connection.sendall(b"NONSENSE\r\n\r\n")
            received = b""
            while data := connection.recv(65536):
                received += data
        assert received.startswith(b"HTTP/1.1 400 ")

    def test_plain_http_at_a_port_of_tls(self, nodes: Nodes) -> None:
        """Plain HTTP is not answered; the node serves on, and its log has no traceback of it."""
        with contextlib.suppress(ConnectionResetError):
            assert not send_raw(nodes["cloud"].url, b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n").startswith(b"HTTP")
        assert nodes["cloud"].http.get("/health").status_code == 200
        assert "Traceback" not in nodes["cloud"].log()

    def test_a_connection_that_says_nothing(self, nodes: Nodes) -> None:
        """A client that does not begin its handshake keeps nobody waiting."""
        host, port = nodes["cloud"].node.address.split(":")
        with contextlib.ExitStack() as stack:
            for _ in range(50):
                stack.enter_context(socket.create_connection((host, int(port)), 20))
            assert nodes["cloud"].http.get("/health").status_code == 200

    def test_a_client_without_the_authority(self, nodes: Nodes) -> None:
        """A client that does not believe the authority says so; the command reads it from the environment."""
        with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
            httpx.get(f"{nodes['cloud'].url}/health")

    def test_the_command(self, nodes: Nodes, folder: Path, chain: str) -> None:
        """`skylark bundle` asks a node by TLS, with the authority of SKYLARK_TLS_CA."""
        nodes["cloud"].client.put_bundle(f"{chain}:t1", FIELDS)
        command = [sys.executable, "-m", "skylark_proxy", "bundle", "list", chain, "--url", nodes["cloud"].url]
        listed = subprocess.run(command, env={"SKYLARK_TLS_CA": str(folder / CA_CERT)}, capture_output=True, check=True)
        assert f"{chain}:cloud:t1".encode() in listed.stdout
        refused = subprocess.run(command, env={}, capture_output=True, check=False)
        assert (refused.returncode, b"certificate is not accepted" in refused.stderr) == (1, True)


class TestWhoIsBelieved:
    @pytest.mark.parametrize("missing", ["certificate", "signature"])
    def test_both_proofs_are_needed(self, nodes: Nodes, folder: Path, chain: str, missing: str) -> None:
        """With a key and an authority a node needs both; a certificate alone, or a signature alone, makes none."""
        tls = TlsFiles(folder / "sat.crt", folder / "sat.key", folder / CA_CERT)
        tls = TlsFiles(ca=tls.ca) if missing == "certificate" else tls
        key = KEYED["SKYLARK_PEER_KEY"].encode() if missing == "certificate" else None
        error = asked(nodes, tls, key, f"{chain}:cloud:t1")
        assert "the certificate is that of none" in error if missing == "certificate" else "are signed" in error
        assert nodes["cloud"].held(chain) == []

    def test_the_certificate_of_another_node(self, nodes: Nodes, folder: Path, chain: str) -> None:
        """Who signs as one node and shows the certificate of another one is neither."""
        tls = TlsFiles(folder / "cloud.crt", folder / "cloud.key", folder / CA_CERT)
        error = asked(nodes, tls, KEYED["SKYLARK_PEER_KEY"].encode(), f"{chain}:cloud:t1")
        assert "node 'sat' signed it, and the certificate is that of cloud" in error

    def test_a_certificate_of_no_node(self, nodes: Nodes, folder: Path, chain: str) -> None:
        """A certificate of the authority for a name that the topology does not have is no node's."""
        make_certificates(folder, {"nobody": ()})
        tls = TlsFiles(folder / "nobody.crt", folder / "nobody.key", folder / CA_CERT)
        assert "the certificate is that of nobody" in asked(
            nodes, tls, KEYED["SKYLARK_PEER_KEY"].encode(), f"{chain}:cloud:t1", "nobody"
        )

    def test_certificates_without_a_key(self, folder: Path, chain: str) -> None:
        """Certificates alone are enough for nodes: they work together, others are refused."""
        with encrypted(folder, {}) as nodes:
            assert nodes["sat"].client.put_bundle(f"{chain}:t1", FIELDS)["key"] == f"{chain}:cloud:t1"
            answer = nodes["cloud"].http.get(f"/bundles/{chain}:cloud:t1?scope=local")
            check_error(answer, 401, "unauthorized", "a node's certificate")
            assert nodes["cloud"].http.get(f"/bundles/{chain}:cloud:t1").status_code == 200

    def test_another_authority(self, folder: Path, tmp_path: Path, chain: str) -> None:
        """A node of another authority is refused by who asks it, and gets no bundle."""
        make_certificates(tmp_path, {"cloud": ()})
        with encrypted(folder, of_node={"cloud": settings_of(tmp_path, "cloud")}) as nodes:
            assert "its certificate is not accepted" in reasons(nodes, chain)

    def test_another_node_at_its_address(self, folder: Path, chain: str) -> None:
        """A node that shows the certificate of another one is not the one that was asked."""
        with encrypted(folder, of_node={"cloud": settings_of(folder, "sat")}) as nodes:
            assert "its certificate is of sat, not of node cloud" in reasons(nodes, chain)

    def test_a_node_without_tls(self, folder: Path, chain: str) -> None:
        """Nobody is asked without encryption, also where the other node has none."""
        plain = dict.fromkeys(settings_of(folder, "cloud"), "")
        with encrypted(folder, of_node={"cloud": plain}) as nodes:
            assert "does not speak TLS" in reasons(nodes, chain)


def asked(nodes: Nodes, tls: TlsFiles, key: bytes | None, bundle: str, sender: str = "sat") -> str:
    """Why cloud refuses what a node with these proofs would send."""
    pool = open_pool(tls, retries=False, timeout=20.0)
    signer = Signer(key, sender) if key is not None else None
    headers = {"Content-Type": wire.MEDIA_TYPE, "Content-Length": str(len(BODY))}
    target = f"/bundles/{bundle.replace(':', '%3A')}?scope=local"
    response = SignedRequests(pool, signer).send(nodes["cloud"].url, "PUT", target, headers, [BODY], "cloud")
    text = response.data.decode()
    response.release_conn()
    pool.clear()
    assert response.status == 401, text
    return text.replace('\\"', '"')


class TestPlainClients:
    def test_the_second_address(self, nodes: Nodes, chain: str) -> None:
        """Clients on the node, such as functions that know no TLS, use its state there; other nodes may not."""
        with httpx.Client(base_url=f"http://{nodes['cloud'].settings['SKYLARK_PLAIN_LISTEN']}") as plain:
            assert plain.put(f"/bundles/{chain}:t1", content=BODY).status_code == 200
            assert plain.get(f"/bundles/{chain}:t1").headers["skylark-node"] == "cloud"
            check_error(plain.get(f"/bundles/{chain}:cloud:t1?scope=local"), 401, "unauthorized")
            forwarded = plain.get(f"/bundles/{chain}:t1", headers={"X-Forwarded-For": "203.0.113.7"})
            check_error(forwarded, 403, "forbidden")

    def test_signed_requests(self, nodes: Nodes, folder: Path, chain: str) -> None:
        """What nodes ask has to be encrypted, whatever its signature is."""
        requests = SignedRequests(open_pool(TlsFiles()), Signer(KEYED["SKYLARK_PEER_KEY"].encode(), "sat"))
        base = f"http://{nodes['cloud'].settings['SKYLARK_PLAIN_LISTEN']}"
        response = requests.send(base, "GET", f"/bundles/{chain}%3Acloud%3At1?scope=local", {})
        assert (response.status, b"by TLS here" in response.data) == (401, True)


class TestCertificatesThatChange:
    def test_renewing(self, tmp_path: Path, chain: str) -> None:
        """A node with an expired certificate is not believed; once it has a new one it is, without a restart."""
        make_certificates(tmp_path, {"sat": ()})
        make_certificates(tmp_path, {"cloud": ()}, now=LONG_AGO)
        with encrypted(tmp_path) as nodes:
            assert "certificate has expired" in reasons(nodes, chain)
            pids = {name: node.pid for name, node in nodes.items()}
            make_certificates(tmp_path, {"cloud": ()})
            placed = nodes["sat"].client.put_bundle(f"{chain}:t2", FIELDS)
            assert (placed["key"], placed["failed"]) == (f"{chain}:cloud:t2", [])
            assert pids == {name: node.pid for name, node in nodes.items()}
            assert "certificates were read again" in nodes["cloud"].log()


class TestNodeInfoWithTls:
    def test_following_and_reporting(self, folder: Path, tmp_path: Path, chain: str) -> None:
        """Proxies follow a service with TLS and report their links there; others may only read."""
        topology = line("sat", "cloud", latency_ms=40.0)
        file, ca = tmp_path / "topology.json", folder / CA_CERT
        file.write_bytes(topology.to_json())
        own = {name: settings_of(folder, name) for name in ("sat", "cloud")}
        with run_node_info("--topology", file, "--node", "sat", environment=KEYED | own["sat"], ca=ca) as service:
            settings = KEYED | {"SKYLARK_NODE_INFO_URL": service.url, "SKYLARK_REPORT_LINKS": "true"}
            with run_nodes(topology, settings=settings, of_node=own, ca=ca) as nodes:
                assert nodes["sat"].http.get("/health").json()["topology"]["source"] == "node-info"
                nodes["sat"].client.put_bundle(f"{chain}:t1", {"f": b"small"})
                wait_for(lambda: service.get("/node-graph")[0]["latency"] < 40, "a measured link is told", 60)
            check_error(service.http.post("/refresh"), 401, "unauthorized", "signed", "a node's certificate")


@contextlib.contextmanager
def redis_by_tls(folder: Path, target: str, *, mutual: bool) -> Iterator[int]:
    """A port where a Redis at a unix socket is reached by TLS, as a real one with TLS would be."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=folder / CA_CERT)
    context.load_cert_chain(folder / "cloud.crt", folder / "cloud.key")
    context.verify_mode = ssl.CERT_REQUIRED if mutual else ssl.CERT_NONE
    threads: list[threading.Thread] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def carry(plain: socket.socket) -> None:
        try:
            near = context.wrap_socket(plain, server_side=True)
        except OSError:
            plain.close()
            return
        with near, socket.socket(socket.AF_UNIX) as far:
            far.connect(target)
            back = threading.Thread(target=pump, args=(far, near))
            back.start()
            pump(near, far)
            back.join()

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threads.append(threading.Thread(target=carry, args=(listener.accept()[0],)))
                threads[-1].start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=accept)
        accepting.start()
        try:
            yield listener.getsockname()[1]
        finally:
            listener.shutdown(socket.SHUT_RDWR)
    for thread in (accepting, *threads):
        thread.join(20)
        assert not thread.is_alive()


class TestRedisWithTls:
    @pytest.mark.parametrize("mutual", [True, False])
    def test_a_store(self, folder: Path, chain: str, mutual: bool) -> None:
        """A node keeps its bundles in a Redis with TLS, which it believes by its authority, and shows its own
        certificate; nothing of this has to stand in the URL."""
        with run_redis() as redis, redis_by_tls(folder, redis.url.removeprefix("unix://"), mutual=mutual) as port:
            of_node = {"cloud": {"SKYLARK_REDIS_URL": f"rediss://127.0.0.1:{port}/0"}}
            with encrypted(folder, of_node=of_node) as nodes:
                nodes["cloud"].client.put_bundle(f"{chain}:t1", FIELDS)
                assert nodes["cloud"].held(chain) == [f"{chain}:cloud:t1"]
            with redis.client() as client:
                assert client.dbsize() > 0

    def test_another_authority(self, folder: Path, tmp_path: Path) -> None:
        """A Redis of another authority is not used."""
        make_certificates(tmp_path, {"cloud": ()})
        with run_redis() as redis, redis_by_tls(tmp_path, redis.url.removeprefix("unix://"), mutual=False) as port:
            environment = settings_of(folder, "cloud") | {"SKYLARK_REDIS_URL": f"rediss://127.0.0.1:{port}/0"}
            command = [sys.executable, "-m", "skylark_proxy", "serve", "--port", "0"]
            served = subprocess.run(command, env=environment, capture_output=True, check=False, timeout=60)
        assert (served.returncode, b"certificate verify failed" in served.stderr) == (1, True), served.stderr


class TestSettings:
    @pytest.mark.parametrize(
        ("command", "settings", "named"),
        [
            ("serve", {"SKYLARK_TLS_CERT": "{folder}/sat.crt"}, "SKYLARK_TLS_CERT"),
            ("serve", {"SKYLARK_TLS_CA": "{folder}/missing"}, "SKYLARK_TLS_CA"),
            ("serve", {"SKYLARK_PLAIN_LISTEN": "127.0.0.1:0"}, "SKYLARK_PLAIN_LISTEN"),
            ("node-info", {"SKYLARK_TLS_CERT": "{folder}/sat.crt"}, "SKYLARK_TLS_CERT"),
            ("node-info", {"SKYLARK_TLS_CA": "{folder}/missing"}, "SKYLARK_TLS_CA"),
        ],
    )
    def test_what_does_not_fit(self, folder: Path, command: str, settings: dict[str, str], named: str) -> None:
        """A wrong file ends the start, with the setting."""
        environment = {name: value.format(folder=folder) for name, value in settings.items()}
        arguments = [sys.executable, "-m", "skylark_proxy", command]
        ended = subprocess.run(arguments, env=environment, capture_output=True, text=True, check=False, timeout=60)
        assert (ended.returncode, named in ended.stderr, "Traceback" in ended.stderr) == (1, True, False)
