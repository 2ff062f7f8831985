// Where the server's time went, as a bar of its parts.

const NAMES = {
  queue: "queue",
  frontend: "text and voice",
  prefill: "prompt",
  first_tokens: "first tokens",
  tokens: "later tokens",
  flow: "flow",
  vocoder: "vocoder",
  send: "sending",
};

const told = (seconds) => `${Math.round(1000 * seconds)} ms`;

/** Draw the `parts_s` of a timing record into an element of the page's template. */
export function drawStages(element, parts) {
  const all = Object.entries(parts).map(([part, seconds], number) => ({ name: NAMES[part] ?? part, seconds, number }));
  const shown = all.filter(({ seconds }) => seconds >= 0.0005);
  element.hidden = !shown.length;
  const bar = element.querySelector(".bar");
  bar.ariaLabel = shown.map(({ name, seconds }) => `${name} ${told(seconds)}`).join(", ");
  bar.replaceChildren(
    ...shown.map(({ seconds, number }) => {
      const part = document.createElement("span");
      part.className = `stage-${number}`;
      part.style.flexGrow = seconds;
      return part;
    }),
  );
  element.querySelector(".legend").replaceChildren(
    ...shown.map(({ name, seconds, number }) => {
      const line = document.createElement("li");
      const dot = document.createElement("i");
      dot.className = `stage-${number}`;
      line.append(dot, `${name} ${told(seconds)}`);
      return line;
    }),
  );
}
