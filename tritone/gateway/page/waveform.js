// The picture of sound: bars as they arrive, those that were heard in colour.

import { RATE } from "./player.js";

const BIN = RATE / 100; // samples of one peak
const STEP = 4; // CSS pixels of a bar and the space after it
const SHORTEST_S = 4; // that the width stands for while less has come

export class Waveform {
  constructor(canvas) {
    this.canvas = canvas;
    this.peaks = [];
    this.fill = 0; // samples of the last peak
    this.played = 0;
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  push(samples) {
    for (const sample of samples) {
      if (this.fill === 0) this.peaks.push(0);
      this.peaks[this.peaks.length - 1] = Math.max(this.peaks.at(-1), Math.abs(sample));
      this.fill = (this.fill + 1) % BIN;
    }
    this.draw();
  }

  /** Samples that were heard. */
  set position(samples) {
    this.played = samples / BIN;
    this.draw();
  }

  draw() {
    const { canvas, peaks } = this;
    const scale = devicePixelRatio;
    const { width, height } = canvas.getBoundingClientRect();
    canvas.width = Math.round(width * scale);
    canvas.height = Math.round(height * scale);
    const drawing = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const bars = Math.max(1, Math.floor(width / STEP));
    const perBar = Math.max(peaks.length, (SHORTEST_S * RATE) / BIN) / bars;
    drawing.scale(scale, scale);
    for (let bar = 0; bar * perBar < peaks.length; bar++) {
      const from = Math.floor(bar * perBar);
      const loudest = Math.max(...peaks.slice(from, Math.max(from + 1, Math.floor((bar + 1) * perBar))));
      const tall = Math.max(2, Math.sqrt(loudest) * height);
      drawing.fillStyle = from < this.played ? style.color : style.getPropertyValue("--wave");
      drawing.beginPath();
      drawing.roundRect(bar * STEP, (height - tall) / 2, STEP - 1.5, tall, 1);
      drawing.fill();
    }
  }
}
