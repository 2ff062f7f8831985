// Playing samples while more of them come: each piece begins where the one before it ends.

/** Hz of the gateway's `pcm`, and of everything that is played here. */
export const RATE = 24000;

const LEAD_S = 0.03; // for the first piece to be ready in time

let shared = null;

/** The one audio context; browsers want its first use to follow a press of a key or button. */
export function audioContext() {
  shared ??= new AudioContext({ sampleRate: RATE });
  if (shared.state === "suspended") shared.resume();
  return shared;
}

/** One stream of samples, played from `start` (seconds of the context's clock) or as soon as may be. */
export class Player {
  constructor(start = 0) {
    this.context = audioContext();
    this.pieces = []; // {at: seconds of the context, from, length: samples, source}
    this.ends = start;
    this.length = 0;
    this.gaps = 0;
    this.heard = new Promise((resolve) => (this.resolveHeard = resolve));
    this.closed = false;
  }

  /** Samples that follow. */
  push(samples) {
    if (this.closed || !samples.length) return;
    const soonest = this.context.currentTime + LEAD_S;
    if (this.pieces.length && this.ends < this.context.currentTime) this.gaps += 1;
    const at = this.ends < this.context.currentTime || !this.pieces.length ? Math.max(this.ends, soonest) : this.ends;
    const buffer = this.context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.context, { buffer });
    source.connect(this.context.destination);
    source.start(at);
    this.pieces.push({ at, from: this.length, length: samples.length, source });
    this.length += samples.length;
    this.ends = at + samples.length / RATE;
  }

  /** No more will come. `heard` is fulfilled once all is played. */
  end() {
    this.closed = true;
    const last = this.pieces.at(-1);
    if (!last || this.ends <= this.context.currentTime) this.resolveHeard();
    else last.source.addEventListener("ended", () => this.resolveHeard());
  }

  /** Be silent now. */
  stop() {
    this.closed = true;
    for (const { source } of this.pieces) source.stop();
    this.resolveHeard();
  }

  /** Samples that were heard by now. */
  position() {
    const now = this.context.currentTime;
    const piece = this.pieces.findLast(({ at }) => at <= now);
    return piece ? piece.from + Math.min(piece.length, Math.floor((now - piece.at) * RATE)) : 0;
  }
}
