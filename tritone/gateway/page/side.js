// One side's settings: who speaks, and how.

import * as api from "./api.js";
import { Emotion } from "./emotion.js";

export class Side {
  /** name: "A" or "B". changed: called when what it would ask for is another. */
  constructor(name, changed) {
    this.name = name;
    this.element = document.getElementById("side").content.cloneNode(true).firstElementChild;
    this.legend.textContent = name;
    this.emotions = {}; // of each model
    this.emotion = new Emotion(this.element.querySelector(".emotion"), changed);
    const told = this.element.querySelector(".told");
    const { speed } = this.fields;
    this.element.addEventListener("input", () => {
      told.textContent = Number(speed.value).toFixed(2).replace(/0$/, "");
      changed();
    });
    this.fields.model.addEventListener("change", async () => {
      await this.showModel();
      changed();
    });
  }

  get legend() {
    return this.element.querySelector("legend");
  }

  get fields() {
    return Object.fromEntries([...this.element.elements].map((field) => [field.name, field]));
  }

  /** All models; the one that was chosen stays. Throws ServerError. */
  async showModels(models) {
    this.emotions = Object.fromEntries(models.map(({ id, emotions }) => [id, emotions]));
    fill(this.fields.model, models.map(({ id }) => [id, id]));
    await this.showModel();
  }

  /** What the one has that is chosen. */
  async showModel() {
    this.emotion.showNames(this.emotions[this.fields.model.value] ?? []);
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
    return { ...body, ...this.emotion.body() };
  }
}

function fill(select, options, choose = null) {
  const before = choose ?? select.value;
  select.replaceChildren(...options.map(([value, text]) => new Option(text, value)));
  if (options.some(([value]) => value === before)) select.value = before;
}
