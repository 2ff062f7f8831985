"""The certificates of a server, looked at before it starts: Triton itself would start with most of
what is wrong with them, and then refuse every client."""

import ssl
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from tritone.errors import EnvironmentProblem


@dataclass(frozen=True)
class ServerTls:
    """PEM files for the gRPC port. cert: the server's, with those between it and its authority.
    client_ca: authorities of clients; with it, a client without a certificate of theirs is refused.
    """

    cert: Path
    key: Path
    client_ca: Path | None = None

    def arguments(self) -> list[str]:
        """Of `tritonserver`; only its gRPC service speaks TLS."""
        files = [f"--grpc-server-cert={self.cert}", f"--grpc-server-key={self.key}"]
        if self.client_ca is None:
            return ["--grpc-use-ssl=true", *files]
        return ["--grpc-use-ssl-mutual=true", *files, f"--grpc-root-cert={self.client_ca}"]

    def check(self) -> None:
        """Raise EnvironmentProblem unless a client could be served with these files now."""
        _readable("--tls-cert", self.cert)
        _readable("--tls-key", self.key)
        server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        try:
            server.load_cert_chain(self.cert, self.key, password=self._no_password)
        except ssl.SSLError as error:
            self._refuse_pair(error)
        try:
            _shake_hands(server, self.cert)
        except ssl.SSLCertVerificationError as error:
            raise EnvironmentProblem(
                f"--tls-cert: {self.cert}: {error.verify_message}; renew it, and see its dates and "
                f"purpose with: openssl x509 -noout -text -in {self.cert}"
            ) from error
        if self.client_ca is not None:
            _check_authorities(self.client_ca)

    def _no_password(self) -> NoReturn:
        """OpenSSL would ask on the terminal, and gRPC cannot open such a key at all."""
        raise EnvironmentProblem(f"--tls-key: {self.key} has a passphrase; store it without one")

    def _refuse_pair(self, error: ssl.SSLError) -> NoReturn:
        """Say which of the two files is at fault."""
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = f"--tls-key: {self.key} is not the key of {self.cert}; name the pair's own"
        elif "BEGIN CERTIFICATE" not in self.cert.read_text(encoding="utf-8", errors="replace"):
            fault = f"--tls-cert: {self.cert} holds no certificate; a PEM file is needed"
        else:
            fault = (
                f"--tls-key: {self.key} with {self.cert}: {error.reason or error}; the key must be "
                "a PEM file, and the certificate long enough for today's rules"
            )
        raise EnvironmentProblem(fault) from error


def _readable(option: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        raise EnvironmentProblem(
            f"{option}: {path}: {error.strerror}; name a PEM file that this user can read"
        ) from error


def _shake_hands(server: ssl.SSLContext, cert: Path) -> None:
    """A handshake in memory with a client that trusts this very certificate, so that what is left
    to judge is its dates and purpose. Raises SSLCertVerificationError."""
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client.check_hostname = False
    client.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    client.load_verify_locations(cert)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for side in (asking, answering, asking):
        with suppress(ssl.SSLWantReadError):
            side.do_handshake()


def _check_authorities(path: Path) -> None:
    option = "--tls-client-ca"
    _readable(option, path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise EnvironmentProblem(
            f"{option}: {path} holds no certificate; a PEM file is needed"
        ) from error
    authorities = context.get_ca_certs()
    if not authorities:
        raise EnvironmentProblem(
            f"{option}: {path} holds no certificate of an authority, so no client's could be "
            "signed by it; name the file of the authority that signs them"
        )
    ends = [str(authority["notAfter"]) for authority in authorities]
    if max(map(ssl.cert_time_to_seconds, ends)) < time.time():
        raise EnvironmentProblem(f"{option}: {path} ended on {', '.join(ends)}; renew it")
