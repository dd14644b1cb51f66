"""A session's credentials: holders of its private key belong to it. One certificate, pinned.

A host serves many sessions at one port: a connection begins with the name of its session
(greeting.py), and each has its own credentials. Each side of a connection shows the session's
certificate, proves that it has the key, and takes no other certificate from its peer. It is
self-signed: there is no authority, no name and no host in it. TLS 1.3 only.
"""

import hmac
import os
import ssl
from dataclasses import dataclass, field
from datetime import datetime

TLS, NONE = "tls", "none"
TRANSPORT_SECURITY = (TLS, NONE)

# A Raspberry Pi has no clock of its own: a tier may believe that it is 1970, or far ahead. A
# session's key ends with the session, so its certificate needs no date.
_ALWAYS = (datetime(1970, 1, 1), datetime(9999, 12, 31, 23, 59, 59))


class InsecureTransportWarning(UserWarning):
    """Payloads are not encrypted, and anyone who reaches a tier's port can use it.

    Example:
        >>> warnings.simplefilter("ignore", InsecureTransportWarning)  # in a trusted network
    """


@dataclass(frozen=True)
class Credentials:
    """A session's name, certificate and private key, both PEM. The key is in no repr.

    Without a certificate nothing is secured: whoever names the session belongs to it.
    """

    session: str = ""
    certificate: str = ""
    key: str = field(default="", repr=False)

    @property
    def is_secured(self) -> bool:
        """Whether a peer has to prove that it has the key."""
        return bool(self.certificate)


UNSECURED = Credentials()


def new_credentials(session: str = "") -> Credentials:
    """Credentials of a new session: an EC P-256 key that nobody else has."""
    # Here and not on top: only a session makes credentials, tiers receive them.
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "EdgeSplit session")])
    begin, end = _ALWAYS
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    private = key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Credentials(session, certificate.public_bytes(pem).decode(), private.decode())


@dataclass(frozen=True)
class Security:
    """How one side of a connection shows that it is of the session. tls: None, it need not.

    secret: what both sides have to know within one host; empty: they need not.
    """

    session: str = ""
    tls: ssl.SSLContext | None = None
    secret: bytes = field(default=b"", repr=False)
    is_accepting: bool = False


NO_SECURITY = Security()


def accepting(credentials: Credentials) -> Security:
    """How a session's connections are accepted."""
    if not credentials.is_secured:
        return Security(credentials.session, is_accepting=True)
    context = _context(ssl.PROTOCOL_TLS_SERVER, credentials)
    context.num_tickets = 0  # nobody resumes, and nothing is sent that nobody asked for
    return Security(credentials.session, context, _secret(credentials), is_accepting=True)


def connecting(credentials: Credentials) -> Security:
    """How a session's connections are made."""
    if not credentials.is_secured:
        return Security(credentials.session)
    context = _context(ssl.PROTOCOL_TLS_CLIENT, credentials)
    return Security(credentials.session, context, _secret(credentials))


def _secret(credentials: Credentials) -> bytes:
    """Of this one use: it says nothing of the key that it comes from."""
    return hmac.digest(credentials.key.encode(), b"EdgeSplit, within one host", "sha256")


def _context(protocol: "ssl._SSLMethod", credentials: Credentials) -> ssl.SSLContext:
    context = ssl.SSLContext(protocol)
    context.check_hostname = False  # the certificate is the session's, on whichever host
    context.verify_mode = ssl.CERT_REQUIRED
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=credentials.certificate)
    # load_cert_chain reads a file: this one lies in memory and goes with its last descriptor.
    with open(os.memfd_create("edgesplit"), "w") as file:
        file.write(credentials.certificate + credentials.key)
        file.flush()
        context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
    return context
