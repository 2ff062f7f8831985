// A request as programs that do the same.

const OWN = ["sample_rate", "seed"]; // fields that OpenAI does not have

const pretty = (value) => JSON.stringify(value, null, 2);
const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`; // for a shell

/** {curl, python, javascript} for a body of /v1/audio/speech. origin: of this page. locked: whether a key is wanted. */
export function snippets(body, origin, locked) {
  return {
    curl: curl({ ...body, response_format: "mp3" }, origin, locked),
    python: python(body, origin, locked),
    javascript: javascript({ ...body, response_format: "pcm" }, origin, locked),
  };
}

function curl(body, origin, locked) {
  const key = locked ? '  -H "Authorization: Bearer $TRITONE_KEY" \\\n' : "";
  return (
    `curl -sS --fail-with-body ${quoted(`${origin}/v1/audio/speech`)} \\\n${key}` +
    `  -H "Content-Type: application/json" \\\n  -d ${quoted(pretty(body))} \\\n  -o speech.mp3`
  );
}

function python({ model, voice, input, ...more }, origin, locked) {
  const own = Object.entries(more).filter(([name]) => OWN.includes(name));
  const known = Object.entries(more).filter(([name]) => !OWN.includes(name));
  const fields = [["model", model], ["voice", voice ?? null], ["input", input], ...known];
  const lines = fields.map(([name, value]) => `    ${name}=${literal(value)},`);
  if (own.length) lines.push(`    extra_body=${JSON.stringify(Object.fromEntries(own))},`);
  return [
    ...(locked ? ["import os", ""] : []),
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

function javascript(body, origin, locked) {
  const headers = ['"Content-Type": "application/json"'];
  if (locked) headers.push("Authorization: `Bearer ${process.env.TRITONE_KEY}`");
  return [
    `const response = await fetch(${JSON.stringify(`${origin}/v1/audio/speech`)}, {`,
    '  method: "POST",',
    `  headers: { ${headers.join(", ")} },`,
    `  body: JSON.stringify(${pretty(body).replaceAll("\n", "\n  ")}),`,
    "});",
    "if (!response.ok) throw new Error(await response.text());",
    "for await (const piece of response.body) {",
    '  console.log(piece.length, "bytes"); // 16-bit samples, 24000 a second',
    "}",
  ].join("\n");
}
