"""The phonemes that a text may hold, each a token in square brackets.

[zh][òng] is a Chinese syllable: its initial, and its final with the tone. [HH][AH0][L][OW1] is an
English word in ARPAbet: vowels with their stress, 0 to 2, or without it.
"""

import re
import unicodedata
from difflib import get_close_matches

from tritone.errors import InvalidRequest
from tritone.families.cosyvoice2.released_tokenizer import TAGS

_VOWELS = "AA AE AH AO AW AY EH ER EY IH IY OW OY UH UW"
_CONSONANTS = "B CH D DH F G HH JH K L M N NG P R S SH T TH V W Y Z ZH"
_STRESSED = (vowel + stress for vowel in _VOWELS.split() for stress in ("", *"012"))
ARPABET = sorted([*_CONSONANTS.split(), *_STRESSED])
_PINYIN = """
a ai an ang ao b c ch d e ei en eng f g h i ian in ing iu ià iàn iàng iào iá ián iáng iáo iè
ié iòng ióng iù iú iā iān iāng iāo iē iě iōng iū iǎ iǎn iǎng iǎo iǒng iǔ j k l m n o ong ou
p q r s sh t u uang ue un uo uà uài uàn uàng uá uái uán uáng uè ué uì uí uò uó uā uāi uān
uāng uē uě uī uō uǎ uǎi uǎn uǎng uǐ uǒ vè w x y z zh à ài àn àng ào á ái án áng áo è èi èn
èng èr é éi én éng ér ì ìn ìng í ín íng ò òng òu ó óng óu ù ùn ú ún ā āi ān āng āo ē ēi ēn
ēng ě ěi ěn ěng ěr ī īn īng ō ōng ōu ū ūn ǎ ǎi ǎn ǎng ǎo ǐ ǐn ǐng ǒ ǒng ǒu ǔ ǔn ǘ ǚ ǜ
"""
PINYIN = _PINYIN.split()
PHONEMES = tuple(f"[{name}]" for name in (*ARPABET, *PINYIN))  # in the order of their ids

_KNOWN = frozenset(PHONEMES)
_TOKENS = _KNOWN | frozenset(TAGS)
_NEAREST = 3
# Not the text of a link.
_BRACKETED = re.compile(r"\[([A-Za-z\u00c0-\u024f][A-Za-z0-9\u00c0-\u024f]{0,7})\](?!\()")
_TONED = "āáǎàēéěèīíǐìōóǒòūúǔùǖǘǚǜ"
_SYLLABLE = "(?:[zcs]h|[b-df-hj-np-tw-z])?{vowels}(?:ng?|r)?"
_MEANT = re.compile(
    rf"[AEIOU][A-Z]\d|(?i:{_VOWELS.replace(' ', '|')})\d|"
    + _SYLLABLE.format(vowels=f"[aeiouüv]*[{_TONED}][aeiouüv]*")
    + "|(?=[a-zü]{2})"
    + _SYLLABLE.format(vowels="[aeiouüv]+")
    + "[1-5]"
)


def check_phonemes(field: str, text: str) -> None:
    """Raise InvalidRequest for the first token in brackets that is meant as a phoneme and is none.

    Meant so is what has the stress of ARPAbet or the tone of a syllable, and letters that touch a
    phoneme. Other letters in brackets, such as [sic], are text.
    """
    tokens = list(_BRACKETED.finditer(unicodedata.normalize("NFC", text)))
    for i, token in enumerate(tokens):
        if token[0] in _TOKENS:
            continue
        before, after = tokens[max(i - 1, 0) : i], tokens[i + 1 : i + 2]
        touches = any(t[0] in _KNOWN and t.end() == token.start() for t in before)
        touches |= any(t[0] in _KNOWN and t.start() == token.end() for t in after)
        if touches or _MEANT.fullmatch(token[1]):
            raise InvalidRequest(field, _unknown(token[1]))


def _unknown(name: str) -> str:
    near = [n for n in (name.lower(), name.upper()) if f"[{n}]" in _KNOWN]
    near = near or get_close_matches(name, (*ARPABET, *PINYIN), _NEAREST, cutoff=0.4)
    nearest = f"; the nearest are {' '.join(f'[{n}]' for n in near)}" if near else ""
    return (
        f"has [{name}], which is no phoneme of this model{nearest}. A Chinese syllable is written "
        "as [zh][òng], an English word as [HH][AH0][L][OW1]"
    )
