// Classify texts: node classify.mjs model.onnx "a text" ..., or one text a line on stdin.

import { argv, exit, stderr, stdin, stdout } from "node:process";
import { pathToFileURL } from "node:url";
import * as ort from "onnxruntime-node";

export class Classifier {
  static async load(path) {
    // One thread: the model is too small to share out.
    const session = await ort.InferenceSession.create(path, { intraOpNumThreads: 1 });
    const { names } = await run(session, new Uint8Array(), ["names"]);
    return new Classifier(session, names.data);
  }

  constructor(session, names) {
    this.session = session;
    this.names = names;
  }

  // The labels that apply to a text (a string, or its bytes), and each label's probability.
  async classify(text) {
    const bytes = typeof text === "string" ? new TextEncoder().encode(text) : text;
    const { scores, labels } = await run(this.session, bytes, ["scores", "labels"]);
    const pairs = this.names.map((name, index) => [name, scores.data[index]]);
    return { labels: Array.from(labels.data), scores: Object.fromEntries(pairs) };
  }
}

function run(session, bytes, outputs) {
  return session.run({ text: new ort.Tensor("uint8", bytes, [bytes.length]) }, outputs);
}

// The lines of a stream of bytes, without their line feeds; a last line needs none.
async function* lines(stream) {
  let parts = [];
  for await (const chunk of stream) {
    let start = 0;
    for (let end; (end = chunk.indexOf(10, start)) >= 0; start = end + 1) {
      yield Uint8Array.from(Buffer.concat([...parts, chunk.subarray(start, end)]));
      parts = [];
    }
    if (start < chunk.length) parts.push(chunk.subarray(start));
  }
  if (parts.length) yield Uint8Array.from(Buffer.concat(parts));
}

async function main([model, ...texts]) {
  if (!model) {
    stderr.write("usage: node classify.mjs MODEL [TEXT ...]\n");
    exit(2);
  }
  const classifier = await Classifier.load(model);
  for await (const text of texts.length ? texts : lines(stdin)) {
    stdout.write(JSON.stringify(await classifier.classify(text)) + "\n");
  }
}

if (import.meta.url === pathToFileURL(argv[1] ?? "").href) await main(argv.slice(2));
