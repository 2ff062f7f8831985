"""The house: rooms and the directions of imports between them, and no word of a family outside."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from paths import PROJECT

PACKAGE = PROJECT / "tritone"

# From the ground up. A room may import those on lower floors, and none of its own floor.
FLOORS = (
    ("errors", "kept_error", "arrays", "memory", "variables", "triton_models", "unwanted_board"),
    ("resources", "plain_json"),
    ("loading",),
    ("config", "voice"),
    ("checkpoints",),
    ("frontend", "compute", "operators", "kernel_choice", "kernel_parts"),
    ("llm",),
    ("acoustic",),
    ("synthesis",),
    ("engines",),
    ("launcher",),
    ("diagnostics",),
    ("families",),
    ("serving", "local", "gateway"),
    ("cli",),
)
FLOOR_OF = {room: floor for floor, rooms in enumerate(FLOORS) for room in rooms}
OUTSIDE = {"__init__", "__main__"}  # the public names and `python -m tritone`

# Names of families, of their networks and files, and numbers of their checkpoints.
WORDS = re.compile(
    r"cosyvoice|indextts|(?<![a-z])hift|campplus|cam\+\+|blanken|spk2info|endofprompt|bigvgan|w2v.?bert"
    r"|\bsos_id\b|\btask_id\b|\b(24000|22050|6561|6562|6563|6564|151663|151936|158336)\b",
    re.IGNORECASE,
)
# Where such words belong, below tritone/ and model_repo/: a family's folder and its endpoint.
HOMES = (
    "tritone/families/",
    *(
        f"model_repo/{n}{kind}/"
        for n in ("cosyvoice2", "cosyvoice3", "indextts2")
        for kind in ("", "_unary")
    ),
)


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported(path: Path) -> Iterator[str]:
    """Rooms that a module imports, at any time and for types too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            first, *rest = name.split(".")
            if first == "tritone" and rest:
                yield rest[0]


def test_every_module_is_in_a_room_and_there_are_at_most_fifteen() -> None:
    rooms = {room_of(path) for path in modules()} - OUTSIDE
    assert rooms <= set(FLOOR_OF), rooms - set(FLOOR_OF)
    folders = {room for room in rooms if (PACKAGE / room).is_dir()}
    assert len(folders) <= 15


@pytest.mark.parametrize("path", modules(), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    """With floors in order, that nothing points up also means that there is no cycle."""
    room = room_of(path)
    if room in OUTSIDE:
        return
    wrong = {
        other
        for other in imported(path)
        if other != room and FLOOR_OF.get(other, -1) >= FLOOR_OF[room]
    }
    assert not wrong, f"{room} imports {', '.join(sorted(wrong))}"


def test_nothing_but_the_gateway_and_the_command_imports_the_client() -> None:
    users = [
        path
        for path in modules()
        if re.search(r"(import|from) tritone_client", path.read_text(encoding="utf-8"))
        and room_of(path) not in ("gateway", "cli")
    ]
    assert not users


def product_files() -> list[Path]:
    folders = (PACKAGE, *(PROJECT / name for name in ("model_repo", "scripts", "client")))
    kinds = {".py", ".pbtxt"}
    found = {p for folder in folders for p in folder.rglob("*") if p.suffix in kinds}
    tools = PROJECT / "scripts" / "parity"  # compares families with golden numbers
    return sorted(p for p in found if tools not in p.parents)


def test_no_word_of_a_family_outside_its_folder_and_its_endpoint() -> None:
    found = []
    for path in product_files():
        name = str(path.relative_to(PROJECT))
        if name.startswith(HOMES):
            continue
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if word := WORDS.search(line):
                found.append(f"{name}:{number}: {word[0]}")
    assert not found, "\n".join(found)


def test_a_family_s_word_would_be_found() -> None:
    for word in ("CosyVoice2", "HiFT", "24000", "task_id", "spk2info.pt"):
        assert WORDS.search(f"x = {word}")
    assert not WORDS.search("rate = 16000; positions = 4096; shift = 240001")


@pytest.mark.parametrize(
    ("packages", "rooms"),
    [
        (("fastapi", "starlette", "uvicorn", "websockets"), {"gateway"}),
        (("prometheus_client",), {"gateway", "diagnostics"}),
        (("av",), {"gateway", "frontend"}),
    ],
)
def test_what_the_gateway_needs_is_imported_there(packages: tuple[str, ...], rooms: set) -> None:
    """Triton's processes must start without it, and an installation may lack it: elsewhere it is
    imported where it is used."""
    pattern = re.compile(rf"^( *)(?:import|from) ({'|'.join(packages)})\b", re.MULTILINE)
    found = {
        (room_of(path), bool(indent))
        for path in modules()
        for indent, _ in pattern.findall(path.read_text("utf-8"))
    }
    assert {room for room, _ in found} == rooms
    assert all(late for room, late in found if room == "frontend")


def test_triton_s_own_module_is_used_in_serving_alone() -> None:
    module = "import triton_python_backend_utils"
    users = {room_of(path) for path in modules() if module in path.read_text(encoding="utf-8")}
    assert users == {"serving"}
