"""How many acoustic frames speech codes take, and where the flow's windows lie. It needs no
torch.

A generation has exactly 43 frames for every 25 codes. Upstream says 1.72 frames a code and cuts the
product for each chunk anew, so that its chunks lose frames; here a chunk has the frames between the
totals at its two ends.

The flow is not causal, so a stream is computed in windows that overlap:

    window   |-- context --|------------- out now -------------|-- held back --|
    next                                         |-- context --|--- faded in --|---- out now ---
"""

FRAMES, CODES = 43, 25

CONTEXT_CODES = 50  # that a window hears of what is out, and up to 24 more
VOCODER_CONTEXT = 16  # frames that the vocoder hears before what it gives out, and after it
HELD_FRAMES = 8  # at a window's end, which know nothing of what follows; the next is faded in there


def frames_of(codes: int) -> int:
    """Frames of so many codes from the beginning of a generation."""
    return codes * FRAMES // CODES


def window_begin(spoken: int) -> int:
    """The code that a window begins with when so many frames are out.

    It falls on the edge of a frame, so that codes take the same frames in every window.
    """
    context = spoken * CODES // FRAMES - CONTEXT_CODES
    return max(0, context) // CODES * CODES
