"""Released files to model directories in this process, and which files that wrote."""

from pathlib import Path

from tritone.checkpoints.conversion import ConvertOptions
from tritone.families.cosyvoice2 import convert as cosyvoice2
from tritone.families.cosyvoice2.released_files import LAYOUT, open_source
from tritone.families.cosyvoice3 import convert as cosyvoice3
from tritone.families.cosyvoice3.released_files import LAYOUT as LAYOUT3

QUICK = ConvertOptions(graphs=())  # what is not about the language model's graph


def convert(source: Path, target: Path, options: ConvertOptions = QUICK) -> Path:
    """As the family of the released files does, without its self-check."""
    third = (source / LAYOUT3.yaml).is_file()
    kind, layout = (cosyvoice3.Conversion, LAYOUT3) if third else (cosyvoice2.Conversion, LAYOUT)
    kind(open_source(source, layout=layout), target, options).run()
    return target


def times(target: Path) -> dict[str, int]:
    files = (path for path in target.rglob("*") if path.is_file())
    return {str(path.relative_to(target)): path.stat().st_mtime_ns for path in files}


def changed(before: dict[str, int], target: Path) -> set[str]:
    """Files of the models that were written since; config.json and voices always are."""
    after = times(target)
    written = {name for name in after if after[name] != before.get(name)}
    return {n for n in written if not n.startswith(("voices", "config.json", ".conversion"))}
