"""Downloads, caches and proxies, as the environment sets them. Nothing here uses the network."""

import ipaddress
import os
import re
import tempfile
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path

from tritone.diagnostics.doctor.check import Finding, check, failure, passed, warning
from tritone.diagnostics.doctor.target import Target

SWITCHES = ("HF_HUB_OFFLINE", "MODELSCOPE_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
ENDPOINTS = ("HF_ENDPOINT", "MODELSCOPE_ENDPOINT")
HUB_CACHES = {
    "HF_HOME": "HF_HUB_OFFLINE",
    "HF_HUB_CACHE": "HF_HUB_OFFLINE",
    "HUGGINGFACE_HUB_CACHE": "HF_HUB_OFFLINE",
    "TRANSFORMERS_CACHE": "HF_HUB_OFFLINE",
    "HF_DATASETS_CACHE": "HF_DATASETS_OFFLINE",
    "MODELSCOPE_CACHE": "MODELSCOPE_OFFLINE",
}
"""Variable of a folder that a hub's library fills -> the switch that leaves it to reading."""

CACHES = ("XDG_CACHE_HOME", "TORCH_HOME", "TRITON_CACHE_DIR", "TMPDIR")
GRPC_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")
"""In this order, and in small letters alone (gRPC Core, Default HTTP Proxy Mapper)."""

_YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its variables
_NO = ("", "0", "OFF", "NO", "FALSE")
_LOCAL = "127.0.0.1,localhost"


@check("offline.variables")
def variables(target: Target) -> Finding:
    """Whether the switches and endpoints mean what they seem to."""
    chosen = {name: os.environ[name] for name in (*SWITCHES, *ENDPOINTS) if name in os.environ}
    facts = ", ".join(f"{name}={_without_password(value)}" for name, value in chosen.items())
    for name in SWITCHES:
        if chosen.get(name, "").upper() not in (*_YES, *_NO):
            text = f"{name} is neither yes nor no, and is taken for no"
            return warning(f"{facts}: {text}", f"export {name}=1")
    hub = chosen.get("HF_HUB_OFFLINE", "")  # where it says anything, the other is not read
    if hub and hub.upper() in _NO and is_offline("TRANSFORMERS_OFFLINE"):
        text = "HF_HUB_OFFLINE goes first, so downloads are tried"
        return warning(f"{facts}: {text}", "export HF_HUB_OFFLINE=1")
    for name in ENDPOINTS:
        if name in chosen and not _is_url(chosen[name]):
            fix = f"export {name}=https://HOST  # or: unset {name}"
            return warning(f"{facts}: {name} is no URL", fix)
    return passed(f"{facts or 'no switch, no mirror set'}; a server downloads nothing")


def is_offline(switch: str) -> bool:
    return os.environ.get(switch, "").upper() in _YES


def _is_url(text: str) -> bool:
    parts = urllib.parse.urlsplit(text)
    return parts.scheme in ("http", "https") and bool(parts.hostname)


@check("offline.caches", when_late="a cache's disk does not answer: df -h, mount, dmesg")
def caches(target: Target) -> Finding:
    """Whether what must be written can be, by writing there."""
    if problem := unwritable(target.cache_dir):
        return failure(
            f"{target.cache_dir}: {problem}; the server's log goes there",
            "tritone serve --cache-dir /tmp/tritone  # or: export XDG_CACHE_HOME=FOLDER; "
            "in a container: docker run --tmpfs /root/.cache",
        )
    named = [name for name in (*CACHES, *HUB_CACHES) if os.environ.get(name)]
    texts = {name: os.path.expandvars(os.environ[name]) for name in named}
    folders = {name: Path(text).expanduser().absolute() for name, text in texts.items()}
    for name, folder in folders.items():
        switch = HUB_CACHES.get(name, "")
        if is_offline(switch):  # then it is read alone
            if not folder.is_dir():
                text = f"{name}={folder} does not exist, and {switch} forbids to fill it"
                return warning(text, f"copy the cache there, or: unset {switch}")
        elif problem := unwritable(folder):
            fix = f"export {name}=FOLDER  # one to write to"
            return warning(f"{name}={folder}: {problem}", fix)
    others = ", ".join(f"{name}={folder}" for name, folder in folders.items())
    return passed(f"{target.cache_dir} can be written{f'; {others} too' if others else ''}")


def unwritable(folder: Path) -> str:
    """Why no folder can be made in a folder, which need not exist yet; empty if one can."""
    nearest = next(place for place in (folder, *folder.parents) if os.path.exists(place))
    if not nearest.is_dir():
        return f"{nearest} is no folder"
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".tritone-doctor-", dir=nearest))
    except OSError as error:
        where = "" if nearest == folder else f" in {nearest}"
        return f"cannot be written{where} ({error.strerror})"
    return ""


@check("offline.proxies")
def proxies(target: Target) -> Finding:
    """Whether a proxy catches what goes to the server itself."""
    host = target.host("grpc").strip("[]")
    grpc = next(filter(os.environ.get, GRPC_PROXIES), "")
    http = urllib.request.getproxies_environment().get("http", "")
    exempt = next(filter(os.environ.get, ["no_grpc_proxy"]), "no_proxy")
    listed = os.environ.get(exempt, "")
    shown = {grpc: os.environ[grpc]} if grpc else {"http_proxy": http} if http else {}
    facts = ", ".join(f"{name}={_without_password(value)}" for name, value in shown.items())
    facts += f", except for {listed}" if listed and facts else ""
    if grpc and not leaves_out(listed, host):
        star = " (gRPC does not know *)" if "*" in listed.split(",") else ""
        who = f"gRPC clients on this machine reach {host} through the proxy, which does not have it"
        return warning(f"{facts}: {who}{star}", f"export {exempt}={_with(listed, host)}")
    if http and not urllib.request.proxy_bypass(host):
        who = f"HTTP clients, such as curl, reach {host} through the proxy"
        return warning(f"{facts}: {who}", f"export no_proxy={_with(listed, host)}")
    return passed(f"{facts}; {host} is left out" if facts else "no proxy set")


def leaves_out(listed: str, host: str) -> bool:
    """Whether gRPC takes the direct way: by the end of the name, or by address and network."""
    for entry in filter(None, map(str.strip, listed.split(","))):
        if host.lower().endswith(entry.lower()):
            return True
        with suppress(ValueError):  # one of both is a name
            if ipaddress.ip_address(host) in ipaddress.ip_network(entry, strict=False):
                return True
    return False


def _with(listed: str, host: str) -> str:
    added = _LOCAL if host in _LOCAL.split(",") else host
    return f"{listed.rstrip(',')},{added}" if listed and "*" not in listed else added


def _without_password(url: str) -> str:
    return re.sub(r"//[^/@]*@", "//***@", url)
