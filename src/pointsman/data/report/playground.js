// The page's own part: runs the model that the page carries on whatever is typed.

const MOST_SHOWN = 8;

function bytesOf(base64) {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function element(name, kind, content) {
  const made = document.createElement(name);
  made.className = kind;
  made.textContent = content;
  return made;
}

function answerRow(name, score, applies) {
  const row = element("li", applies ? "applies" : "", "");
  const bar = element("span", "track", "");
  const fill = element("span", "fill", "");
  fill.style.inlineSize = `${100 * score}%`;
  bar.append(fill);
  row.append(element("bdi", "name", name), bar, element("span", "score", `${(100 * score).toFixed(1)} %`));
  return row;
}

function startPlayground() {
  const model = document.querySelector("#model");
  if (!model) return;
  const input = document.querySelector("#text"), answer = document.querySelector("#answer");
  const time = document.querySelector("#time"), encoder = new TextEncoder();
  let classify;
  const show = () => {
    const started = performance.now();
    const { scores, names, labels } = classify(encoder.encode(input.value));
    const took = performance.now() - started;
    const order = scores.map((_, at) => at).sort((a, b) => scores[b] - scores[a] || a - b);
    const told = new Set(labels);
    const shown = order.filter((at, place) => place < MOST_SHOWN || told.has(names[at]));
    answer.replaceChildren(...shown.map((at) => answerRow(names[at], scores[at], told.has(names[at]))));
    time.textContent = `${labels.length ? labels.join(", ") : "no label"} · ${took.toFixed(1)} ms in this page`;
  };
  try {
    classify = loadClassifier(bytesOf(model.textContent));
    input.addEventListener("input", show);
    show();
  } catch (error) {
    time.textContent = `This page cannot run the model: ${error.message}.`;
  }
}

startPlayground();
