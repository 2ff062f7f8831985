"""Texts that are more than a text front end may like: markup that is broken, deep or endless."""

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

_PIECES = (
    *("<speak>", "</speak>", "<p>", "</p>", "<s>", "<break/>", '<break time="99999999999s"/>'),
    *(
        '<prosody rate="0%">',
        "</prosody>",
        '<sub alias="">',
        "</sub>",
        '<say-as interpret-as="date">',
    ),
    *(
        "</say-as>",
        '<phoneme ph="\u02c8">',
        "</phoneme>",
        "<emphasis>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
    ),
    *("&amp;", "&#0;", "&#x110000;", "&lol;", "<?xml version='1.0'?>", "<!DOCTYPE lolz []>"),
    *(
        "[",
        "](",
        "![",
        "**",
        "__",
        "`",
        "~~~\n",
        "```\n",
        "> ",
        "- ",
        "1. ",
        "# ",
        "| a | b |\n",
        "|-|-|\n",
    ),
    *(
        "\\",
        "\n",
        "\n\n",
        "\t",
        "<script>",
        "</script>",
        "<",
        ">",
        "&",
        '"',
        "\u202e",
        "\u200b",
        "\ufeff",
    ),
    *(
        "$",
        "1",
        "12:30",
        "1/2",
        "3.14",
        "10^9",
        "-",
        ".",
        "...",
        "A",
        "ab",
        "the cat",
        "\u4e2d\u6587",
        "\U0001f600",
    ),
    *("https://a.b/c", "x@y.z", "\u0301" * 20, "\u0000", "\ud800", "[a](/b/)", "I.B.M.", "9" * 50),
)
_LAUGHS = (
    '<!DOCTYPE lolz [<!ENTITY a "lol"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;&a;&a;">'
    '<!ENTITY c "&b;&b;&b;&b;&b;&b;&b;&b;&b;&b;">]><speak>&c;</speak>',
    '<speak><!DOCTYPE a SYSTEM "file:///etc/passwd"></speak>',
    "<speak>" + "<p>" * 100_000,
    "<speak>" * 100_000,
    "<speak>" + "<p/>" * 100_000 + "</speak>",
    "<speak " + " ".join(f'a{i}="b"' for i in range(5000)) + ">a</speak>",
)


@st.composite
def _mixed(draw: st.DrawFn) -> str:
    return "".join(draw(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=30)))


@st.composite
def _endless(draw: st.DrawFn) -> str:
    """A few pieces, again and again, up to the length that a request may have."""
    pieces = draw(st.lists(st.sampled_from(_PIECES), min_size=1, max_size=3))
    unit = "".join(pieces)
    return (unit * (19_999 // len(unit)))[: draw(st.sampled_from((500, 2000, 20_000)))]


def texts() -> SearchStrategy[str]:
    ssml = _mixed().map(lambda text: f"<speak>{text}</speak>")
    usual = st.one_of(_mixed(), _mixed(), ssml, ssml, st.text(max_size=60))
    return st.one_of(usual, usual, usual, usual, _endless(), st.sampled_from(_LAUGHS))
