// The page: what its buttons do.

import * as api from "./api.js";
import { audioContext } from "./player.js";
import { Side } from "./side.js";
import { snippets } from "./snippets.js";
import { SpokenText } from "./spoken.js";
import { Take } from "./take.js";
import { VoiceDialog } from "./voices.js";

const at = (id) => document.getElementById(id);

const spoken = new SpokenText(at("text"), at("echo"));
const sides = ["A", "B"].map((name) => new Side(name, showSnippet));
const dialog = new VoiceDialog(voicesChanged, (error) => {
  at("add-voice").hidden = true;
  fail(error);
});
let takes = [];
let stopping = null; // AbortController of what is being asked for
let locked = api.key.get() !== ""; // whether this server wants a key, which the tab may have

function chosen() {
  return at("compare").checked ? sides : sides.slice(0, 1);
}

function fail(error) {
  at("message").textContent = error.message;
  at("message").hidden = false;
  if (error.status === 401) askForKey();
}

function askForKey() {
  locked = true;
  at("key-form").hidden = false;
  at("change-key").hidden = true;
  at("key").focus();
}

/** Fill in what the server has. */
async function load() {
  at("message").hidden = true;
  try {
    at("add-voice").hidden = !(await api.takesVoices());
    const models = await api.models();
    for (const side of sides) await side.showModels(models);
    const { voice } = sides[1].fields;
    if (!voice.value) voice.selectedIndex = Math.min(2, voice.length - 1); // another than A's
    at("key-form").hidden = true;
    at("change-key").hidden = !locked;
  } catch (error) {
    fail(error);
  }
  showSnippet();
}

async function voicesChanged(id) {
  for (const side of sides) await side.showVoices();
  if (id) sides[0].choose(id);
  at("status").textContent = id ? `The voice ${id} was added.` : "The voice was removed.";
  showSnippet();
}

async function speak() {
  stop();
  const signal = (stopping = new AbortController()).signal;
  audioContext(); // now, as browsers want a press of a key or button for it
  at("message").hidden = true;
  const text = at("text").value;
  const asked = chosen();
  takes = asked.map((side) => new Take(asked.length > 1 ? side.name : "", side.body(text), spoken));
  at("takes").replaceChildren(...takes.map(({ element }) => element));
  at("status").textContent = "Speaking.";
  showRunning();
  try {
    let ends = 0; // on the audio clock
    for (const take of takes) {
      // one after the other: each has the server for itself, and is heard when the one before is
      ends = await take.run(signal, ends);
    }
    at("status").textContent = `All has arrived: ${takes.map(({ seconds }) => `${seconds.toFixed(1)} s`).join(", ")}.`;
  } catch (error) {
    if (error.name !== "AbortError") fail(error);
    at("status").textContent = error.name === "AbortError" ? "Stopped." : "";
  } finally {
    if (stopping?.signal === signal) stopping = null;
    showRunning();
  }
}

/** Of what is asked for and of what is played. */
function stop() {
  stopping?.abort();
  stopping = null;
  for (const take of takes) take.stop();
  showRunning();
}

function showRunning() {
  at("stop").disabled = !stopping && !takes.some(({ player }) => player);
  document.body.ariaBusy = Boolean(stopping);
}

function showSnippet() {
  const language = document.querySelector("[name=language]:checked").value;
  const body = sides[0].body(at("text").value);
  const { recordingName } = sides[0].emotion;
  at("snippet").textContent = snippets(body, location.origin, locked, recordingName)[language];
  at("count").textContent = `${Array.from(at("text").value).length} characters`;
}

async function copySnippet() {
  try {
    await navigator.clipboard.writeText(at("snippet").textContent);
    at("copy-snippet").textContent = "Copied";
    setTimeout(() => (at("copy-snippet").textContent = "Copy"), 2000);
  } catch {
    getSelection().selectAllChildren(at("snippet")); // pages over plain HTTP may not copy
  }
}

function showSides() {
  for (const side of sides) side.legend.hidden = !at("compare").checked;
  at("sides").replaceChildren(...chosen().map(({ element }) => element));
}

at("order").addEventListener("submit", (event) => {
  event.preventDefault();
  speak();
});
at("stop").addEventListener("click", stop);
at("compare").addEventListener("change", showSides);
at("text").addEventListener("input", showSnippet);
at("languages").addEventListener("change", showSnippet);
at("copy-snippet").addEventListener("click", copySnippet);
at("add-voice").addEventListener("click", () => dialog.open(sides[0].fields.model.value));
at("change-key").addEventListener("click", askForKey);
at("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.key.set(at("key").value.trim());
  at("key").value = "";
  load();
});
at("takes").addEventListener("heard", showRunning);
at("takes").addEventListener("plays", ({ target }) => {
  for (const take of takes) if (take.element !== target) take.stop();
  queueMicrotask(showRunning);
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && !document.querySelector("dialog[open]")) {
    event.preventDefault();
    at("order").requestSubmit();
  }
  if (event.key === "Escape" && !document.querySelector("dialog[open]")) stop();
});

showSides();
load();
