// One speech: asked for, played, drawn, measured, and kept to be heard again.

import { speech } from "./api.js";
import { Player, RATE } from "./player.js";
import { spokenAt } from "./spoken.js";
import { drawStages } from "./stages.js";
import { joined, save, wav } from "./wav.js";
import { Waveform } from "./waveform.js";

export class Take {
  /** name: "A", "B" or nothing. spoken: SpokenText in which is marked what is said. */
  constructor(name, body, spoken) {
    this.body = body;
    this.spoken = spoken;
    this.pieces = [];
    this.timing = null;
    this.player = null;
    this.element = document.getElementById("take").content.cloneNode(true).firstElementChild;
    this.title = [name, body.voice ?? "the server's own voice", body.model].filter(Boolean).join(" · ");
    this.find("h2").textContent = this.title;
    this.wave = new Waveform(this.find("canvas"));
    this.find(".play").addEventListener("click", () => this.toggle());
    this.find(".download").addEventListener("click", () =>
      save(wav(joined(this.pieces), RATE), `${body.voice ?? "speech"}.wav`),
    );
  }

  find(selector) {
    return this.element.querySelector(selector);
  }

  get seconds() {
    return this.pieces.reduce((sum, piece) => sum + piece.length, 0) / RATE;
  }

  /** Until all has arrived; gives when it will all be heard. start: of playing. Both in seconds of the
   * audio clock. Throws ServerError, and AbortError where the signal is raised; what has come by
   * then stays. */
  async run(signal, start = 0) {
    const began = performance.now();
    const since = () => (performance.now() - began) / 1000;
    const player = (this.player = new Player(start));
    this.follow();
    this.state = "arriving";
    try {
      for await (const event of speech(this.body, signal)) {
        if (event.samples) this.take(event.samples, player, since());
        if (event.timing) this.timing = event.timing;
      }
      this.finish(since());
      this.state = player.gaps ? `playback ran dry, ${player.gaps}×` : "";
      return player.ends;
    } catch (error) {
      this.state = error.name === "AbortError" ? "stopped" : "broke off";
      throw error;
    } finally {
      player.end();
      this.find(".play").disabled = this.find(".download").disabled = !this.pieces.length;
    }
  }

  set state(words) {
    this.find(".state").textContent = words;
  }

  take(samples, player, seconds) {
    if (!this.pieces.length) this.figure("first", `${Math.round(1000 * seconds)} ms`);
    this.pieces.push(samples);
    player.push(samples);
    this.wave.push(samples);
    this.figure("speech", `${this.seconds.toFixed(2)} s`);
    this.find("canvas").ariaLabel = `Waveform of ${this.seconds.toFixed(2)} s of speech`;
  }

  finish(seconds) {
    this.figure("total", `${seconds.toFixed(2)} s`);
    this.figure("rtf", (seconds / this.seconds).toFixed(2));
    if (!this.timing) return;
    drawStages(this.find(".stages"), this.timing.parts_s);
    const notes = this.find(".notes");
    notes.hidden = !this.timing.notes.length;
    notes.replaceChildren(
      ...this.timing.notes.map((note) => Object.assign(document.createElement("li"), { textContent: note })),
    );
  }

  figure(name, words) {
    this.find(`[data-figure=${name}]`).textContent = words;
  }

  /** Draw and mark what is heard, for as long as something is played. */
  async follow() {
    const { player } = this;
    let playing = true;
    const show = () => {
      if (!playing || this.player !== player) return;
      const heard = player.position();
      this.wave.position = heard;
      if (heard) this.spoken.mark(this.body.input, spokenAt(this.body.input, this.timing, heard / RATE));
      requestAnimationFrame(show);
    };
    show();
    this.find(".play").textContent = "Stop playing";
    await player.heard;
    playing = false;
    if (this.player !== player) return;
    this.player = null;
    this.wave.position = Infinity;
    this.find(".play").textContent = "Play";
    this.spoken.clear();
    this.element.dispatchEvent(new Event("heard", { bubbles: true }));
  }

  /** Be silent, or play again. */
  toggle() {
    if (this.player) return this.player.stop();
    this.element.dispatchEvent(new Event("plays", { bubbles: true }));
    this.player = new Player();
    for (const piece of this.pieces) this.player.push(piece);
    this.player.end();
    this.follow();
  }

  stop() {
    this.player?.stop();
  }
}
