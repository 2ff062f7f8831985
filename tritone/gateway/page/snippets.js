// A request as programs that do the same.

// Fields that OpenAI does not have.
const OWN = ["sample_rate", "seed", "emotion_vector", "emotion_audio", "emotion_text", "emotion_weight"];
const FILE = '"emotion_audio": "FILE"'; // in the place of a recording; in no text, where quotes are escaped

const pretty = (value) => JSON.stringify(value, null, 2);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`; // for a shell

/** {curl, python, javascript} for a body of /v1/audio/speech. origin: of this page. locked: whether a key is wanted.
 * recording: the name of the file that is its emotion_audio, or null. */
export function snippets(whole, origin, locked, recording) {
  const body = recording === null ? whole : { ...whole, emotion_audio: "FILE" };
  return {
    curl: curl({ ...body, response_format: "mp3" }, origin, locked, recording),
    python: python(body, origin, locked, recording),
    javascript: javascript({ ...body, response_format: "pcm" }, origin, locked, recording),
  };
}

function curl(body, origin, locked, recording) {
  const key = locked ? '  -H "Authorization: Bearer $TRITONE_KEY" \\\n' : "";
  const [before, after] = pretty(body).split(FILE);
  const parts = recording !== null && [
    `printf %s ${quoted(`${before}"emotion_audio": "`)}`,
    `base64 < ${quoted(recording)} | tr -d '\\n'`,
    `printf %s ${quoted(`"${after}`)}`,
  ];
  return (
    (parts ? `{ ${parts.join("\n  ")}\n} | ` : "") + // as no argument may be as long as a recording
    `curl -sS --fail-with-body ${quoted(`${origin}/v1/audio/speech`)} \\\n${key}` +
    `  -H "Content-Type: application/json" \\\n  -d ${parts ? "@-" : quoted(pretty(body))} \\\n  -o speech.mp3`
  );
}

function python({ model, voice, input, ...more }, origin, locked, recording) {
  const own = Object.entries(more).filter(([name]) => OWN.includes(name));
  const known = Object.entries(more).filter(([name]) => !OWN.includes(name));
  const fields = [["model", model], ["voice", voice ?? null], ["input", input], ...known];
  const lines = fields.map(([name, value]) => `    ${name}=${literal(value)},`);
  if (own.length) lines.push(`    extra_body=${dictionary(own, recording)},`);
  const imports = [...(recording === null ? [] : ["import base64"]), ...(locked ? ["import os"] : [])];
  return [
    ...(imports.length ? [...imports, ""] : []),
    "from openai import OpenAI",
    "",
    `client = OpenAI(base_url=${literal(`${origin}/v1`)}, api_key=${locked ? 'os.environ["TRITONE_KEY"]' : '"none"'})`,
    "with client.audio.speech.with_streaming_response.create(",
    ...lines,
    '    response_format="wav",',
    ") as response:",
    '    response.stream_to_file("speech.wav")',
  ].join("\n");
}

// Strings and numbers of JSON are Python's, too.
const literal = (value) => (value === null ? "None" : JSON.stringify(value));

function dictionary(entries, recording) {
  const read = `base64.b64encode(open(${literal(recording)}, "rb").read()).decode()`;
  const values = entries.map(([name, value]) => `${literal(name)}: ${value === "FILE" && name === "emotion_audio" ? read : literal(value)}`);
  return `{${values.join(", ")}}`;
}

function javascript(body, origin, locked, recording) {
  const read = `"emotion_audio": await readFile(${literal(recording)}, "base64")`;
  const sent = pretty(body).replaceAll("\n", "\n  ").replace(FILE, () => (recording === null ? FILE : read));
  const headers = ['"Content-Type": "application/json"'];
  if (locked) headers.push("Authorization: `Bearer ${process.env.TRITONE_KEY}`");
  return [
    ...(recording === null ? [] : ['import { readFile } from "node:fs/promises";', ""]),
    `const response = await fetch(${JSON.stringify(`${origin}/v1/audio/speech`)}, {`,
    '  method: "POST",',
    `  headers: { ${headers.join(", ")} },`,
    `  body: JSON.stringify(${sent}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "for await (const piece of response.body) {",
    '  console.log(piece.length, "bytes"); // 16-bit samples, 24000 a second',
    "}",
  ].join("\n");
}
