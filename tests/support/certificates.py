"""Certificates of authorities that exist for a test alone, as PEM files."""

from datetime import datetime, timedelta, timezone
from pathlib import Path

import trustme

HOST = "127.0.0.2"
"""For which servers' certificates are: on loopback, and not where HTTP listens."""


class Certificates:
    """In `folder`: of two authorities and of a stranger, by name: NAME.pem and NAME.key."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        now, day = datetime.now(timezone.utc), timedelta(days=1)
        servers, clients, stranger = trustme.CA(), trustme.CA(), trustme.CA()
        for name, authority in (("servers", servers), ("clients", clients)):
            authority.cert_pem.write_to_path(self.pem(name))
        self._keep("server", servers.issue_cert(HOST))
        self._keep("elsewhere", servers.issue_cert("elsewhere.test"))
        ended = servers.issue_cert(HOST, not_before=now - 2 * day, not_after=now - day)
        self._keep("ended", ended)
        self._keep("to come", servers.issue_cert(HOST, not_before=now + day))
        self._keep("client", clients.issue_cert("client.test"))
        self._keep("stranger", stranger.issue_cert("client.test"))

    def _keep(self, name: str, leaf: trustme.LeafCert) -> None:
        leaf.private_key_pem.write_to_path(self.key(name))
        for link in leaf.cert_chain_pems:
            link.write_to_path(self.pem(name), append=True)

    def pem(self, name: str) -> Path:
        return self._folder / f"{name}.pem"

    def key(self, name: str) -> Path:
        return self._folder / f"{name}.key"

    def pair(self, name: str) -> tuple[Path, Path]:
        """A certificate and its key."""
        return self.pem(name), self.key(name)
