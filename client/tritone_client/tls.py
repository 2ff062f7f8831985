"""TLS to the server: a client's certificates, and what it means when there is no connection."""

import argparse
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc

# gRPC's words for a failed connection -> what they mean here, for clients with TLS
_MEANINGS = (
    ("certificate has expired", "the server's certificate has expired; renew it there"),
    (
        "certificate is not yet valid",
        "the server's certificate is not valid yet; compare the clocks of both machines",
    ),
    (
        "Hostname Verification Check failed",
        "the server's certificate is for another name than --url has; use one of its names",
    ),
    (
        "CERTIFICATE_VERIFY_FAILED",
        "the authorities in {ca} did not sign the server's certificate; name the right file (--ca)",
    ),
    ("WRONG_VERSION_NUMBER", "what listens there speaks no TLS; leave --tls, --ca and --cert out"),
)
_HUNG_UP = "Socket closed"
_NO_CONNECTION = "failed to connect to all addresses"


@dataclass(frozen=True)
class Tls:
    """PEM files. ca: authorities of the server; None takes those that gRPC comes with. cert, key:
    of this client, for a server that asks for them."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        """Raises ValueError, or OSError for a file that cannot be read."""
        self.context()  # gRPC itself would take files of anything
        files = [path.read_bytes() if path else None for path in (self.ca, self.key, self.cert)]
        return grpc.ssl_channel_credentials(*files)

    def context(self) -> ssl.SSLContext:
        """The same for Python's own clients. Raises ValueError, or OSError."""
        if (self.cert is None) != (self.key is None):
            raise ValueError("cert and key of a client belong together; give both or neither")
        for path in filter(None, (self.ca, self.cert, self.key)):
            path.open("rb").close()  # OpenSSL's own error does not name the file
        fault = f"ca: {self.ca} holds no certificate; a PEM file is needed"
        try:
            context = ssl.create_default_context(cafile=self.ca)
            fault = f"cert and key: {self.cert} and {self.key} are no pair of PEM files"
            if self.cert is not None:
                context.load_cert_chain(self.cert, self.key, password="")
        except ssl.SSLError as error:
            raise ValueError(f"{fault} ({error.reason or error})") from error
        return context


def explained(details: str, tls: Tls | None) -> str:
    """gRPC's words, with what they mean where a TLS handshake failed."""
    if _NO_CONNECTION not in details:
        return details
    if tls is None:
        unheard = "a server that speaks TLS hangs up like this: name its authority (--ca)"
        return f"{details}; {unheard}" if _HUNG_UP in details else details
    for words, meaning in _MEANINGS:
        if words in details:
            return f"{meaning.format(ca=tls.ca or 'gRPC')} ({details})"
    if _HUNG_UP not in details:
        return details
    if tls.cert is None:
        meaning = "the server wants a certificate of this client; give one (--cert, --key)"
    else:
        meaning = (
            f"the server does not accept {tls.cert}: its authority did not sign it, or it ended"
        )
    return f"{meaning} ({details})"


def add_options(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument_group("TLS").add_argument
    add("--tls", action="store_true", help="with the authorities that gRPC comes with")
    add("--ca", type=Path, metavar="FILE", help="PEM: authorities of the server; implies --tls")
    add("--cert", type=Path, metavar="FILE", help="PEM: this client's certificate")
    add("--key", type=Path, metavar="FILE", help="PEM: its key")


def from_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> Tls | None:
    """None where TLS is not asked for; refuses files that cannot be used."""
    if not (options.tls or options.ca or options.cert or options.key):
        return None
    tls = Tls(options.ca, options.cert, options.key)
    try:
        tls.credentials()
    except (OSError, ValueError) as error:
        parser.error(str(error))
    return tls
