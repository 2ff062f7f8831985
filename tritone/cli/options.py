"""Options that several subcommands have."""

from pathlib import Path
from typing import Annotated

import typer

from tritone import resources
from tritone.acoustic import presets
from tritone.launcher.settings import Profile

MODELS = resources.model_repository()
TRITON = resources.triton_folder()
CACHE = resources.default_cache_dir()

Model = Annotated[
    Path | None,
    typer.Option(envvar="TRITONE_MODEL", help="model directory; without it the embedded voice"),
]
Voices = Annotated[
    Path | None,
    typer.Option(
        envvar="TRITONE_VOICES", metavar="DIR", help="added voices (a folder of the user's data)"
    ),
]
Runtime = Annotated[
    Profile,
    typer.Option(
        help="what serves the language model: ONNX Runtime on the CPU (cpu); on a GPU "
        "TensorRT-LLM's Executor (gpu), torch (gpu-torch), the LLM API of TensorRT-LLM 1.x "
        "(gpu-llmapi) or NVIDIA's C++ backend (gpu-backend)"
    ),
]
Preset = Annotated[
    presets.Preset,
    typer.Option(
        help="how the flow's ODE is solved: as the checkpoint says (exact); in 7 of 10 steps, no "
        "further off (fast); in half of them (faster)"
    ),
]
Address = Annotated[str, typer.Option(help="0.0.0.0 serves other machines too")]
HttpAddress = Annotated[
    str | None,
    typer.Option(help="of HTTP and metrics, never encrypted (--address; with TLS 127.0.0.1)"),
]
PortBase = Annotated[int, typer.Option(help="port of HTTP; gRPC is +1, metrics +2")]
Ca = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM: authorities of a server that speaks TLS")
]
Cert = Annotated[
    Path | None, typer.Option(metavar="FILE", help="PEM: a certificate for that server")
]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="PEM: its key")]
Keys = Annotated[
    Path | None,
    typer.Option(metavar="FILE", envvar="TRITONE_KEYS", help="API keys of the gateway's callers"),
]
GatewayKeys = Annotated[
    Path | None, typer.Option(metavar="FILE", help="as `tritone keys` makes it")
]
WheelDir = Annotated[Path, typer.Option(help="where Triton's wheel is unpacked")]
Accepted = Annotated[
    list[str],
    typer.Option(metavar="NAME", help="of the release, once you have read it; may be repeated"),
]
CacheDir = Annotated[Path, typer.Option(help="logs, and what is made for this machine")]
