// Classifies texts in a page: const classifier = await Classifier.load("model.onnx").

import * as ort from "onnxruntime-web";

export class Classifier {
  static async load(url) {
    const answer = await fetch(url);
    if (!answer.ok) throw new Error(`${url}: ${answer.status} ${answer.statusText}`);
    ort.env.wasm.numThreads = 1; // more need cross-origin isolation, and the model is too small
    const session = await ort.InferenceSession.create(await answer.arrayBuffer());
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
