"""What a run has done, in numbers."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Totals:
    """Utterances by what became of them, and bad lines of the manifest.

    audio_s: seconds of speech of this run. pipeline_s: seconds that it took, models loaded.
    """

    spoken: int
    skipped: int
    failed: int
    bad_lines: int
    audio_s: float
    pipeline_s: float

    @property
    def complete(self) -> bool:
        """Whether every line has its file."""
        return not self.failed and not self.bad_lines

    def summary(self) -> str:
        """What was done, and what is left to do."""
        first = f"{self.spoken} spoken, {self.skipped} were there, {self.failed} failed"
        if self.audio_s:
            rtf = self.pipeline_s / self.audio_s
            first += f"; {self.audio_s:.1f} s of speech in {self.pipeline_s:.1f} s, RTF {rtf:.3f}"
        lines = [first]
        if self.bad_lines:
            lines.append(f"{self.bad_lines} lines of the manifest cannot be spoken, see above")
        if not self.complete:
            lines.append("mend them and start again: what is finished is skipped")
        return "\n".join(lines)
