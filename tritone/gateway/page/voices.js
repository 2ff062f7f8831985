// The dialog in which a voice is added from a recording, or removed.

import { ask, voices } from "./api.js";
import { audioContext, RATE } from "./player.js";
import { wav } from "./wav.js";

const PATH = "/v1/audio/voices";
const NOT_SERVED = [404, 405, 501];

export class VoiceDialog {
  /** changed: called with the id of a voice that is there now, or null when one was removed.
   * missing: called where this server turns out to take none. */
  constructor(changed, missing) {
    this.dialog = document.getElementById("voice-dialog");
    this.form = document.getElementById("voice-form");
    this.changed = changed;
    this.missing = missing;
    this.recording = null; // a WAV file
    this.recorder = null;
    const record = document.getElementById("record");
    record.hidden = !navigator.mediaDevices; // browsers hide it from pages over plain HTTP
    record.addEventListener("click", () => this.guarded(() => this.toggleRecording()));
    document.getElementById("voice-cancel").addEventListener("click", () => this.dialog.close());
    this.dialog.addEventListener("close", () => this.recorder?.stop());
    this.form.elements.file.addEventListener("change", () => this.use(null));
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.guarded(() => this.add());
    });
  }

  /** For one model. */
  async open(model) {
    this.model = model;
    this.say("");
    this.dialog.showModal();
    await this.guarded(() => this.list());
  }

  say(words) {
    const message = document.getElementById("voice-message");
    message.textContent = words;
    message.hidden = !words;
  }

  async guarded(work) {
    this.say("");
    try {
      await work();
    } catch (error) {
      if (NOT_SERVED.includes(error.status) && error.code !== "voice_not_found") {
        this.dialog.close();
        this.missing(error);
      }
      this.say(error.message);
    }
  }

  async toggleRecording() {
    if (this.recorder) return this.recorder.stop();
    const stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    const release = () => stream.getTracks().forEach((track) => track.stop());
    if (!this.dialog.open) return release(); // closed while leave was asked for
    const parts = [];
    const recorder = (this.recorder = new MediaRecorder(stream));
    recorder.addEventListener("dataavailable", ({ data }) => parts.push(data));
    recorder.addEventListener("stop", () => {
      this.recorder = null;
      release();
      this.showRecording(false);
      this.guarded(async () => this.use(await asWav(new Blob(parts))));
    });
    recorder.start();
    this.showRecording(true);
  }

  showRecording(on) {
    const button = document.getElementById("record");
    button.textContent = on ? "Stop recording" : "Record";
    button.ariaPressed = on;
    if (on) document.getElementById("recorded").textContent = "recording";
  }

  /** Take this recording, or none, so that the file is taken. */
  use(recording) {
    const hear = document.getElementById("hear");
    if (hear.src) URL.revokeObjectURL(hear.src);
    this.recording = recording?.file ?? null;
    document.getElementById("recorded").textContent = recording ? `${recording.seconds.toFixed(1)} s recorded` : "";
    hear.hidden = !recording;
    if (recording) {
      this.form.elements.file.value = "";
      hear.src = URL.createObjectURL(recording.file);
    } else hear.removeAttribute("src");
  }

  async add() {
    const { name, file, transcript, agreed, consent } = this.form.elements;
    const sample = this.recording ?? file.files[0];
    if (!sample) throw new Error("Choose a recording, or record one.");
    const body = new FormData();
    body.set("name", name.value);
    body.set("audio_sample", sample, sample.name ?? "recording.wav");
    body.set("transcript", transcript.value);
    body.set("consent", consent.checked ? agreed.value : ""); // the server says what is missing
    body.set("model", this.model);
    const { id } = await (await ask(PATH, { method: "POST", body })).json();
    this.form.reset();
    this.use(null);
    this.dialog.close();
    await this.changed(id);
  }

  async list() {
    const list = document.getElementById("voice-list");
    const found = await voices(this.model);
    list.hidden = !found.length;
    list.querySelector("ul").replaceChildren(
      ...found.map(({ id, name }) => {
        const line = document.createElement("li");
        const remove = Object.assign(document.createElement("button"), { type: "button", textContent: "Remove" });
        remove.ariaLabel = `Remove ${name}`;
        remove.addEventListener("click", () => this.guarded(() => this.remove(id)));
        line.append(name, remove);
        return line;
      }),
    );
  }

  async remove(id) {
    await ask(`${PATH}/${encodeURIComponent(id)}`, { method: "DELETE" });
    await this.changed(null);
    await this.list();
  }
}

/** What a browser has recorded, in whichever format it records, as a WAV file. */
async function asWav(blob) {
  const sound = await audioContext().decodeAudioData(await blob.arrayBuffer());
  return { file: wav(sound.getChannelData(0), RATE), seconds: sound.duration };
}
