"""Compile NeMo's English grammars to the two transducers that the package carries.

In an environment of its own, since pynini takes 700 MB:

    pip install pynini==2.1.7 inflect joblib regex sacremoses tqdm editdistance cdifflib
    pip install --no-deps nemo_text_processing==1.2.0
    python scripts/compile_english_grammar.py
"""

import lzma
from pathlib import Path
from tempfile import TemporaryDirectory

FOLDER = Path(__file__).parents[1] / "tritone/frontend/text/english/grammar_data"
GRAMMARS = {"tokenize": "tagger", "verbalizer": "verbalizer"}  # ends of NeMo's file names


def main() -> None:
    import pynini
    from nemo_text_processing.text_normalization.normalize import Normalizer

    with TemporaryDirectory() as cache:
        Normalizer(input_case="cased", lang="en", deterministic=True, cache_dir=cache)
        for far in sorted(Path(cache).glob("*.far")):
            name = next((n for end, n in GRAMMARS.items() if far.stem.endswith(end)), None)
            if name is None:
                continue  # spaces around punctuation, which we keep as they were
            ((_, transducer),) = pynini.Far(str(far), "r")
            written = Path(cache) / f"{name}.fst"
            transducer.write(str(written))
            packed = lzma.compress(written.read_bytes(), preset=9 | lzma.PRESET_EXTREME)
            (FOLDER / f"{name}.fst.xz").write_bytes(packed)
            print(f"{name}: {len(packed)} bytes")


if __name__ == "__main__":
    main()
