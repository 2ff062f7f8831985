// One side's settings: who speaks, and how.

import * as api from "./api.js";

export class Side {
  /** name: "A" or "B". changed: called when what it would ask for is another. */
  constructor(name, changed) {
    this.name = name;
    this.element = document.getElementById("side").content.cloneNode(true).firstElementChild;
    this.legend.textContent = name;
    const told = this.element.querySelector(".told");
    const { speed } = this.fields;
    this.element.addEventListener("input", () => {
      told.textContent = Number(speed.value).toFixed(2).replace(/0$/, "");
      changed();
    });
    this.fields.model.addEventListener("change", async () => {
      await this.showVoices();
      changed();
    });
  }

  get legend() {
    return this.element.querySelector("legend");
  }

  get fields() {
    return Object.fromEntries([...this.element.elements].map((field) => [field.name, field]));
  }

  /** Ids of all models; the one that was chosen stays. Throws ServerError. */
  async showModels(models) {
    fill(this.fields.model, models.map((id) => [id, id]));
    await this.showVoices();
  }

  async showVoices(choose = null) {
    const { model, voice } = this.fields;
    const found = model.value ? await api.voices(model.value) : [];
    fill(voice, [["", "the server's own"], ...found.map(({ id, name }) => [id, name])], choose);
  }

  choose(voice) {
    this.fields.voice.value = voice;
  }

  /** The text as a request; what has its default is left out. */
  body(input) {
    const { model, voice, instructions, speed, seed } = this.fields;
    const body = { model: model.value, input };
    if (voice.value) body.voice = voice.value;
    if (instructions.value) body.instructions = instructions.value;
    if (Number(speed.value) !== 1) body.speed = Number(speed.value);
    if (seed.value) body.seed = Number(seed.value);
    return body;
  }
}

function fill(select, options, choose = null) {
  const before = choose ?? select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === before)) select.value = before;
}
