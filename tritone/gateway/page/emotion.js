// What speech is to sound like, for models that say which emotions they have.

export class Emotion {
  /** element: of a side. changed: called when it is another, where no event of the page says so. */
  constructor(element, changed) {
    this.element = element;
    this.recording = null; // base64 of a file
    const { emotion, file } = this.fields;
    emotion.addEventListener("change", () => this.showKind());
    file.addEventListener("change", async () => {
      const [chosen] = file.files;
      this.recording = null; // until the new one has been read
      changed();
      if (!chosen) return;
      const read = await base64(chosen);
      if (file.files[0] !== chosen) return; // yet another one
      this.recording = read;
      changed();
    });
  }

  get fields() {
    return Object.fromEntries([...this.element.elements].map((field) => [field.name, field]));
  }

  /** Name of the file that a request holds, if it does. */
  get recordingName() {
    return "emotion_audio" in this.body() ? this.fields.file.files[0].name : null;
  }

  get shares() {
    return [...this.element.querySelectorAll(".shares input")].map(({ value }) => Number(value));
  }

  /** The model's emotions; without any, there is nothing to choose. */
  showNames(names) {
    this.element.hidden = !names.length;
    const shares = this.element.querySelector(".shares");
    if ([...shares.children].map(({ textContent }) => textContent.trim()).join() === names.join()) return;
    shares.replaceChildren(
      ...names.map((name) => {
        const slider = { type: "range", min: 0, max: 1.2, step: 0.05, value: 0 };
        const label = Object.assign(document.createElement("label"), { textContent: `${name} ` });
        label.append(Object.assign(document.createElement("input"), slider));
        return label;
      }),
    );
    this.fields.emotion.value = "";
    this.showKind();
  }

  showKind() {
    const kind = this.fields.emotion.value;
    for (const part of this.element.querySelectorAll("[data-kind]"))
      part.hidden = !part.dataset.kind.split(" ").includes(kind);
  }

  /** Fields of a request: none where there is nothing to say, as where a kind is chosen and not filled in. */
  body() {
    const { emotion, words, weight } = this.fields;
    const said = {
      vector: this.shares.some(Boolean) && { emotion_vector: this.shares },
      text: words.value.trim() && { emotion_text: words.value },
      audio: this.recording && { emotion_audio: this.recording },
    }[emotion.value];
    if (this.element.hidden || !said) return {};
    return Number(weight.value) === 1 ? said : { ...said, emotion_weight: Number(weight.value) };
  }
}

async function base64(file) {
  const letters = Array.from(new Uint8Array(await file.arrayBuffer()), (byte) => String.fromCharCode(byte));
  return btoa(letters.join(""));
}
