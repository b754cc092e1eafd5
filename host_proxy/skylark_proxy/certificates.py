"""A small certificate authority for testbeds and first steps: its own certificate, and one for each node.

Importing this needs the extra `certs`.
"""

import datetime
import os
from collections.abc import Mapping, Sequence
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
from cryptography.x509.oid import ExtendedKeyUsageOID

from skylark_proxy.errors import InvalidArgument
from skylark_proxy.model import check_name
from skylark_proxy.tls import NODE_URI

CA_CERT, CA_KEY = "ca.crt", "ca.key"
_CA_DAYS = 3650
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_MAX_COMMON_NAME = 64  # RFC 5280, appendix A.1


class NodeFiles(NamedTuple):
    """The files of a node's certificate and its key."""

    cert: Path
    key: Path


def make_certificates(
    folder: Path,
    nodes: Mapping[str, Sequence[str]],
    days: float = 365,
    now: datetime.datetime | None = None,
) -> dict[str, NodeFiles]:
    """Write a certificate and a key for each node, and those of the authority unless the folder has them already.

    Args:
        folder: For `ca.crt`, `ca.key`, `NAME.crt` and `NAME.key`; keys are for their owner's eyes only.
        nodes: The nodes by name, each with the hosts and IP addresses at which it is reached.
        days: How long the nodes' certificates are good.
        now: When they begin to be; None: now.

    Raises:
        InvalidArgument: A name is not valid, or the authority that is there.
    """
    from_when = now or datetime.datetime.now(datetime.UTC)
    folder.mkdir(parents=True, exist_ok=True)
    authority = _authority(folder, from_when)
    made = {}
    for name, hosts in nodes.items():
        files = NodeFiles(folder / f"{check_name('node', name)}.crt", folder / f"{name}.key")
        key = _new_key()
        certificate = _of_node(name, hosts, key, authority, from_when, datetime.timedelta(days=days))
        _write_key(files.key, key)
        _write(files.cert, _pem(certificate))
        made[name] = files
    return made


class _Authority(NamedTuple):
    certificate: x509.Certificate
    key: EllipticCurvePrivateKey


def _authority(folder: Path, now: datetime.datetime) -> _Authority:
    cert_file, key_file = folder / CA_CERT, folder / CA_KEY
    if key_file.exists():
        try:
            loaded = serialization.load_pem_private_key(key_file.read_bytes(), None)
            certificate = x509.load_pem_x509_certificate(cert_file.read_bytes())
        except ValueError as error:
            raise InvalidArgument(str(key_file), None, f"a key and its certificate in PEM ({error})") from error
        if not isinstance(loaded, EllipticCurvePrivateKey):
            raise InvalidArgument(str(key_file), None, "a key of an elliptic curve")
        return _Authority(certificate, loaded)
    key = _new_key()
    name = _name("Skylark")
    builder = _builder(name, name, key, now, datetime.timedelta(days=_CA_DAYS))
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=True), critical=True)
    certificate = _signed(builder, key)
    _write_key(key_file, key)
    _write(cert_file, _pem(certificate))
    return _Authority(certificate, key)


def _of_node(
    name: str,
    hosts: Sequence[str],
    key: EllipticCurvePrivateKey,
    authority: _Authority,
    now: datetime.datetime,
    valid: datetime.timedelta,
) -> x509.Certificate:
    builder = _builder(_name(name[:_MAX_COMMON_NAME]), authority.certificate.subject, key, now, valid)
    builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
    builder = builder.add_extension(_usage(signs_certificates=False), critical=True)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    builder = builder.add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"{NODE_URI}{name}")]
    for host in dict.fromkeys((*hosts, *_LOOPBACK)):
        try:
            names.append(x509.IPAddress(ip_address(host)))
        except ValueError:
            names.append(x509.DNSName(host))
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    identifier = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key())
    return _signed(builder.add_extension(identifier, critical=False), authority.key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: EllipticCurvePrivateKey,
    now: datetime.datetime,
    valid: datetime.timedelta,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))  # the nodes' clocks may be behind
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, text)])


def _new_key() -> EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def _signed(builder: x509.CertificateBuilder, key: EllipticCurvePrivateKey) -> x509.Certificate:
    return builder.sign(key, hashes.SHA256())


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _write_key(path: Path, key: EllipticCurvePrivateKey) -> None:
    form = serialization.PrivateFormat.PKCS8
    _write(path, key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()), 0o600)


def _write(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file whole: a node that reads its certificates again must not find half of one."""
    written = path.with_name(f".{path.name}.new")
    written.unlink(missing_ok=True)
    with os.fdopen(os.open(written, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(content)
    written.replace(path)
