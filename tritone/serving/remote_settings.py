"""Where another server's `tensorrt_llm` is, and how it is asked: parameters of the model here."""

import math
import re
import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import NoReturn

import grpc

from tritone.errors import EnvironmentProblem
from tritone.launcher.operator_key import key_of
from tritone.triton_models import LANGUAGE_MODEL

_ADDRESS = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")
_CHANNEL = [
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),  # a proxy of the environment would see the key
    ("grpc.max_receive_message_length", -1),  # states of the model, where the flow takes them
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1000),  # as long as a connection may take
    ("grpc.max_reconnect_backoff_ms", 1000),
]


@dataclass(frozen=True)
class RemoteSettings:
    """url: HOST:PORT of its gRPC. key_file: has the key of its inner models, as its
    --inner-key-file. tls_ca, tls_cert, tls_key: PEM files; with the first the connection is
    encrypted, with the others this server has a certificate. deadline_seconds: that a generation
    may take.

    Raises EnvironmentProblem for what cannot be meant.
    """

    url: str = ""
    key_file: str = ""
    tls_ca: str = ""
    tls_cert: str = ""
    tls_key: str = ""
    deadline_seconds: float = 300.0

    @classmethod
    def of(cls, given: Mapping[str, str], changed: Iterable[str]) -> "RemoteSettings":
        """given: the model's parameters as they are written, among them those of the runtime that
        would run here. changed: names of those that a deployment chose. Raises EnvironmentProblem.
        """
        known = [field.name for field in fields(cls)]
        if strays := sorted(set(changed) - set(known)):
            cls._refuse(
                strays[0], f"has no meaning where url is set: then it takes {', '.join(known)}"
            )
        own = {name: given[name] for name in known if name in given}
        seconds = own.pop("deadline_seconds", cls.deadline_seconds)
        try:
            deadline = float(seconds)
        except ValueError:
            cls._refuse("deadline_seconds", f"{seconds!r}: it must be a number")
        return cls(**own, deadline_seconds=deadline)

    def check(self) -> None:
        """Raises EnvironmentProblem for a file that cannot be used."""
        _ = self.key
        self.channel().close()

    def __post_init__(self) -> None:
        port = _ADDRESS.fullmatch(self.url)
        if not port or not 0 < int(port[1]) < 1 << 16:
            self._refuse("url", f"{self.url!r}: HOST:PORT of a server's gRPC is needed")
        if not 0 < self.deadline_seconds < math.inf:
            self._refuse("deadline_seconds", f"{self.deadline_seconds:g}: it must be above 0")
        if bool(self.tls_cert) != bool(self.tls_key):
            self._refuse("tls_cert", "and tls_key are a pair: name both files, or neither")
        if self.tls_cert and not self.tls_ca:
            self._refuse("tls_cert", "needs tls_ca: without it the connection is not encrypted")

    @property
    def key(self) -> str:
        """Empty for a server whose inner models are open. Raises EnvironmentProblem."""
        named = f"parameter key_file of {LANGUAGE_MODEL}"
        return key_of(named, Path(self.key_file)) if self.key_file else ""

    def channel(self) -> grpc.Channel:
        """Raises EnvironmentProblem for a file that cannot be used."""
        if not self.tls_ca:
            return grpc.insecure_channel(self.url, _CHANNEL)
        self._check_files()
        files = (self.tls_ca, self.tls_key, self.tls_cert)
        contents = [Path(file).read_bytes() if file else None for file in files]
        return grpc.secure_channel(self.url, grpc.ssl_channel_credentials(*contents), _CHANNEL)

    def _check_files(self) -> None:
        """gRPC would take any, and then fail to connect without a word on them."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        try:
            context.load_verify_locations(self.tls_ca)
        except OSError as error:
            self._refuse("tls_ca", f"{self.tls_ca}: {_reason(error)}; a PEM file is needed")
        if not self.tls_cert:
            return
        try:
            context.load_cert_chain(self.tls_cert, self.tls_key, password="")
        except OSError as error:
            self._refuse(
                "tls_cert",
                f"{self.tls_cert}, with tls_key {self.tls_key}: {_reason(error)}; PEM files of a "
                "pair are needed, without a passphrase",
            )

    @staticmethod
    def _refuse(name: str, problem: str) -> NoReturn:
        raise EnvironmentProblem(f"parameter {name} of {LANGUAGE_MODEL}: {problem}")


def _reason(error: OSError) -> str:
    return (error.reason if isinstance(error, ssl.SSLError) else error.strerror) or str(error)
