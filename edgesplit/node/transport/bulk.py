"""Large bodies of one direction of a TLS connection, each encrypted in one piece by AES-128-GCM.

TLS takes a record per 16 KiB, and its cost is per record. The key is agreed within that TLS and
used for nothing else. Bodies are counted, and the count is the nonce, so that none comes twice; the
frame's prefix and header are authenticated with the body. What is changed, left out, sent again or
in another order is not opened, and nothing after it is.
"""

from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from edgesplit.errors import TransportSecurityError

KEY_BYTES, TAG_BYTES = 16, 16
_NONCE_BYTES = 12  # as NIST SP 800-38D recommends; a counter, section 8.2.1
# From here on it is quicker than TLS's records: python -m experiments.transport_security.
BULK_BYTES = 1 << 16


class BulkCipher:
    """Of one direction, one side's. Called in the order of the frames, by one thread at a time."""

    def __init__(self, key: bytes) -> None:
        self._key = algorithms.AES(key)
        self._count = 0

    def seal(self, head: memoryview, body: Sequence[memoryview]) -> memoryview:
        """The encrypted body with its tag behind it. head: prefix and header of the frame."""
        encryptor = Cipher(self._key, self._mode()).encryptor()
        encryptor.authenticate_additional_data(head)
        n_bytes = sum([part.nbytes for part in body])
        sealed, at = memoryview(bytearray(n_bytes + TAG_BYTES)), 0
        for part in body:
            at += encryptor.update_into(part, sealed[at:])
        encryptor.finalize()
        sealed[n_bytes:] = encryptor.tag
        return sealed

    def open(self, head: bytes, body: memoryview, tag: bytes) -> None:
        """Decrypt the body in its place. Raises TransportSecurityError where it is not the next."""
        decryptor = Cipher(self._key, self._mode()).decryptor()
        decryptor.authenticate_additional_data(head)
        decryptor.update_into(body, body)
        try:
            decryptor.finalize_with_tag(tag)
        except InvalidTag as error:
            raise TransportSecurityError(
                "transport security: a payload is not as its sender encrypted it, or not the next"
            ) from error

    def skip(self) -> None:
        """The next body passes by unopened."""
        self._count += 1

    def _mode(self) -> modes.GCM:
        nonce = self._count.to_bytes(_NONCE_BYTES, "big")
        self._count += 1
        return modes.GCM(nonce)
