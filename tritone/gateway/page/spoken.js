// The text, with what is being said in it marked.

export class SpokenText {
  /** echo: lies below the text field, and has the same text. */
  constructor(field, echo) {
    this.field = field;
    this.echo = echo;
    this.shown = "";
    field.addEventListener("input", () => this.clear());
    this.clear();
  }

  clear() {
    this.shown = "";
    this.echo.replaceChildren(`${this.field.value}\n`); // a last line that is empty counts, too
  }

  /** Mark from one character of this text to another, unless the field has another by now. */
  mark(text, [from, to]) {
    const shown = `${from}-${to}`;
    if (shown === this.shown || text !== this.field.value) return;
    this.shown = shown;
    const letters = Array.from(text); // as the server counts: not in halves of surrogate pairs
    const marked = document.createElement("mark");
    marked.textContent = letters.slice(from, to).join("");
    this.echo.replaceChildren(letters.slice(0, from).join(""), marked, `${letters.slice(to).join("")}\n`);
    marked.scrollIntoView({ block: "nearest" });
  }
}

/** The characters that are said at some second, after the spans of a timing record: {text, samples}
 * at its `sample_rate`. A segment that is still being made has no span yet; the sentence stands for it. */
export function spokenAt(text, timing, seconds) {
  const spans = timing?.spans ?? [];
  const sample = seconds * (timing?.sample_rate ?? 1);
  const found = spans.find(({ samples }) => sample < samples[1]);
  if (found) return found.text;
  const from = spans.at(-1)?.text[1] ?? 0;
  const rest = Array.from(text).slice(from).join("");
  if (!rest) return spans.at(-1)?.text ?? [0, 0];
  const [sentence] = new Intl.Segmenter("en", { granularity: "sentence" }).segment(rest);
  return [from, from + Array.from(sentence.segment).length];
}
