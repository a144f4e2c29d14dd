// What there is: the gateway, the models on this machine, the providers, the traffic.

import { ask, send } from "./api.js";
import { el, section, table } from "./dom.js";
import { count, size, usd } from "./format.js";

const SAMPLE = /^pointsman_(\w+)_total\{provider="((?:[^"\\]|\\.)*)",model="((?:[^"\\]|\\.)*)"\} (\S+)$/;

/** Give the page's content. */
export function overview() {
  return [
    el("h1", null, "Overview"),
    section("Gateway", gateway),
    section("Models on this machine", local),
    section("Providers", providers),
    section("Traffic since the gateway started", traffic),
  ];
}

async function gateway() {
  const { version } = await ask("healthz");
  return el("p", null, `Pointsman ${version} is running.`);
}

async function local() {
  const { models } = await ask("pointsman/v1/models");
  if (!models.length) {
    return el("p", null, "None yet. ", el("code", null, "pointsman pull smollm2"), " fetches one.");
  }
  const rows = models.map((each) => [
    `local:${each.name}`,
    each.state ?? "not loaded",
    each.path || each.url ? size(each.bytes) : "its file is gone",
    each.state ? memory(each) : "–",
    each.context_tokens ? count(each.context_tokens) : "–",
    each.state ? each.leases : "–",
  ]);
  return table("Local models", [
    { label: "Model", head: true },
    { label: "State" },
    { label: "Size", number: true },
    { label: "Memory", number: true },
    { label: "Context, tokens", number: true },
    { label: "Requests now", number: true },
  ], rows, { stack: true });
}

function memory(model) {
  const parts = [];
  if (model.resident_bytes) parts.push(size(model.resident_bytes));
  if (model.vram_bytes) parts.push(`${size(model.vram_bytes)} on the GPU`);
  return parts.join(", ") || "unknown";
}

async function providers() {
  const response = await send("v1/models");
  const missing = (response.headers.get("x-pointsman-incomplete") ?? "").split(", ").filter(Boolean);
  const counts = new Map();
  for (const { owned_by: owner } of (await response.json()).data) {
    if (owner !== "local" && owner !== "pointsman") counts.set(owner, (counts.get(owner) ?? 0) + 1);
  }
  const rows = [
    ...[...counts].map(([name, models]) => [name, "answers", count(models)]),
    ...missing.map((name) => [name, "gave no list of its models", "–"]),
  ];
  if (!rows.length) {
    return el("p", null, "None gives a list of models. A provider is here once its key is set, as ",
      el("code", null, "OPENAI_API_KEY"), ", or it is in ", el("code", null, "pointsman.toml"), ".");
  }
  return table("Providers that are set up", [
    { label: "Provider", head: true }, { label: "State" }, { label: "Models", number: true },
  ], rows, { stack: true });
}

async function traffic() {
  const text = await (await send("metrics")).text();
  const found = new Map();
  for (const line of text.split("\n")) {
    const match = SAMPLE.exec(line);
    if (!match) continue;
    const [, name, provider, model, value] = match;
    if (!provider) continue;
    const key = JSON.stringify([provider, model]);
    if (!found.has(key)) found.set(key, { ref: unescaped(`${provider}:${model}`) });
    found.get(key)[name] = Number(value);
  }
  if (!found.size) return el("p", null, "None yet.");
  const rows = [...found.values()].map((each) => [
    each.ref,
    count(each.requests ?? 0),
    count(each.errors ?? 0),
    count(each.input_tokens ?? 0),
    count(each.output_tokens ?? 0),
    each.unpriced ? `${usd(each.cost_usd ?? 0)} and ${count(each.unpriced)} unpriced` : usd(each.cost_usd ?? 0),
  ]);
  return table("Answers by model", [
    { label: "Model", head: true },
    { label: "Answers", number: true },
    { label: "Failures", number: true },
    { label: "Prompt tokens", number: true },
    { label: "Answer tokens", number: true },
    { label: "Cost", number: true },
  ], rows, { stack: true });
}

function unescaped(text) {
  return text.replace(/\\(.)/g, (_, c) => (c === "n" ? "\n" : c));
}
