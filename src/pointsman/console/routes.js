// Routes: which there are, what each setting of the dial comes to, and why a prompt goes where it goes.

import { ask } from "./api.js";
import { chart, PER } from "./chart.js";
import { el, fill, plain, section, table } from "./dom.js";
import { band, count, percent, usd } from "./format.js";

const POLICY = {
  classifier: "decides before anything is asked",
  order: "asks as listed",
  cascade: "asks a cheap one first, and goes on if its answer will not do",
  consistency: "asks a cheap one several times, and goes on if its answers differ",
  judge: "a cascade whose answers another model judges",
  bandit: "decides before anything is asked, and now and then tries another",
};

/** Give the page's content, with the route of that name open, else the first one. */
export function routes(name) {
  const detail = el("div", { id: "route" });
  const list = section("All routes", async () => {
    const found = (await ask("pointsman/v1/routes")).routes;
    const open = found.find((each) => each.name === name)
      ?? (name ? null : found.find((each) => !each.error) ?? found[0]);
    detail.replaceChildren(...(open
      ? opened(open) : [el("p", { class: "wrong", role: "alert" }, `There is no route '${plain(name)}'.`)]));
    return listed(found, open);
  });
  return [el("h1", null, "Routes"), list, detail];
}

function listed(found, open) {
  const rows = found.map((route) => ({
    mark: route === open ? "open" : null,
    cells: [
      el("a", { href: `#/routes/${encodeURIComponent(route.name)}` }, route.name),
      route.policy ?? "–",
      setting(route),
      route.error ?? route.candidates.join(", "),
    ],
  }));
  return table("Routes of this gateway", [
    { label: "Route", head: true }, { label: "Policy" }, { label: "Set to" }, { label: "Candidates" },
  ], rows, { stack: true });
}

function setting(route) {
  if (route.error) return "–";
  if (route.spend_usd_per_day !== null) return `at most ${usd(route.spend_usd_per_day)} a day (dial ${route.dial} now)`;
  if (route.quality !== null) return `keep ${percent(route.quality, 0)} of the best (dial ${route.dial})`;
  return `dial ${route.dial}`;
}

function opened(route) {
  if (route.error) return [el("h2", null, route.name), el("p", { class: "wrong" }, route.error)];
  const facts = [`Policy ${route.policy}: ${POLICY[route.policy] ?? "a policy of its own"}.`];
  if (route.shadow) facts.push("On paper only (shadow): it asks as listed and records what it would have chosen.");
  if (route.fallback.length) facts.push(`If all fail: ${route.fallback.join(", ")}.`);
  if (route.gone.length) facts.push(`Gone, and left out: ${route.gone.join(", ")}.`);
  const curve = el("div");
  fill(curve, async () => report(await ask(`pointsman/v1/routes/${encodeURIComponent(route.name)}/curve?levels=21`)));
  return [
    el("section", null, el("h2", null, route.name), el("p", null, facts.join(" ")), curve),
    el("section", null, el("h3", null, "Explain a decision"), explainer(route)),
  ];
}

function nearest(levels, dial) {
  let found = 0;
  levels.forEach((each, place) => {
    if (Math.abs(each.dial - dial) < Math.abs(levels[found].dial - dial)) found = place;
  });
  return found;
}

function report(told) {
  const found = [];
  if (told.curve === null) {
    found.push(el("p", null, told.policy === "order"
      ? "This route asks its candidates as listed: there is no dial and no curve."
      : "There is no curve: the classifier is not there (pip install 'pointsman[router]'). By the dial alone, "
        + "the cheapest is asked below 0.5, else the dearest."));
  } else {
    found.push(...curved(told));
  }
  found.push(el("h3", null, "The last week at each setting"), ...week(told));
  if (told.ab !== null) found.push(el("h3", null, "A/B"), ...compared(told.ab));
  return found;
}

function curved(told) {
  const { curve, week: { levels: weekly } } = told;
  const now = nearest(curve.levels, told.dial);
  const { node, look } = chart(curve, now);
  const words = el("output", { for: "dial", id: "told" });
  const tell = (place) => {
    const level = curve.levels[place];
    const past = weekly[place];
    words.replaceChildren(
      `Dial ${level.dial}: expected quality ${percent(level.quality)} (95 %: ${band(level.quality_low, level.quality_high)}), `
      + `which keeps ${percent(level.kept)} of ${plain(curve.strongest)}'s, at ${usd(level.cost_usd * PER)} per ${count(PER)} requests `
      + `(95 %: ${usd(level.cost_low_usd * PER)} to ${usd(level.cost_high_usd * PER)}).`
      + (past ? ` The last week would have cost ${usd(past.cost_usd)}.` : ""));
    look(place);
  };
  const slider = el("input", {
    id: "dial", type: "range", min: 0, max: curve.levels.length - 1, step: 1, value: now,
    input: (event) => {
      event.currentTarget.setAttribute("aria-valuetext", `dial ${curve.levels[event.currentTarget.value].dial}`);
      tell(Number(event.currentTarget.value));
    },
  });
  slider.setAttribute("aria-valuetext", `dial ${curve.levels[now].dial}`);
  tell(now);
  const unknown = told.unknown.length
    ? el("p", null, `No price is known of ${told.unknown.join(", ")}: they count as a little dearer than the dearest known one.`)
    : null;
  return [
    el("h3", null, "Quality against cost"),
    el("p", { class: "quiet" }, `Calibrated on ${told.calibrated_on}; ${count(curve.rows)} prompts stand behind the bands.`),
    node,
    el("p", { class: "dial" }, el("label", { for: "dial" }, "Look at a setting"), slider),
    words,
    unknown,
    el("details", null, el("summary", null, "The curve as a table"), settings(curve, now)),
  ].filter(Boolean);
}

function settings(curve, now) {
  const rows = curve.levels.map((level, place) => ({
    mark: place === now ? "set now" : null,
    cells: [
      level.dial,
      percent(level.quality),
      band(level.quality_low, level.quality_high),
      percent(level.kept),
      usd(level.cost_usd * PER),
      `${usd(level.cost_low_usd * PER)} to ${usd(level.cost_high_usd * PER)}`,
      Object.entries(level.shares).sort((a, b) => b[1] - a[1])
        .map(([ref, share]) => `${ref} ${percent(share, 0)}`).join(", "),
    ],
  }));
  return table("What each setting comes to", [
    { label: "Dial", head: true },
    { label: "Quality", number: true },
    { label: "95 % band", number: true },
    { label: "Of the best", number: true },
    { label: `Cost of ${count(PER)}`, number: true },
    { label: "95 % band", number: true },
    { label: "Who answers" },
  ], rows);
}

function week({ week: past, dial }) {
  if (!past.requests) return [el("p", null, "No request came by this route in the last seven days.")];
  const intro = el("p", null,
    `${count(past.requests)} ${past.requests === 1 ? "request" : "requests"} came, and cost ${usd(past.cost_usd)} as far as that is known. `
    + `All candidates were weighed in ${count(past.weighed)} of them; the table is about those, and what it says is expected, not measured.`);
  if (!past.levels.length) return [intro];
  const now = nearest(past.levels, dial);
  const base = past.levels[now];
  const rows = past.levels.map((level, place) => ({
    mark: place === now ? "set now" : null,
    cells: [
      level.dial,
      percent(level.quality),
      place === now ? "–" : signed((level.quality - base.quality) * 100, " points"),
      usd(level.cost_usd),
      place === now || !base.cost_usd ? "–" : signed((level.cost_usd / base.cost_usd - 1) * 100, " %"),
    ],
  }));
  return [intro, table("The last seven days at each setting", [
    { label: "Dial", head: true },
    { label: "Expected quality", number: true },
    { label: "Against now", number: true },
    { label: "Expected cost", number: true },
    { label: "Against now", number: true },
  ], rows)];
}

function signed(value, unit) {
  const text = Math.abs(value).toFixed(1);
  return `${text === "0.0" ? "±" : value < 0 ? "−" : "+"}${text}${unit}`;
}

function compared(verdict) {
  const rows = [verdict.control, verdict.variant].map((arm) => [
    arm.name, count(arm.requests), count(arm.judged),
    arm.judged ? percent(arm.good / arm.judged) : "–", usd(arm.cost_usd),
  ]);
  const words = verdict.difference === null
    ? "Too few answers have a verdict to say anything: feedback gives one."
    : `The variant's verdicts are ${signed(verdict.difference * 100, " points")} against the control's (95 %: `
      + `${signed(verdict.low * 100, "")} to ${signed(verdict.high * 100, "")}), p = ${verdict.p_value.toFixed(3)}: `
      + `${verdict.significant ? "significant" : "not significant"} at 0.05. It holds for a number of requests fixed before.`;
  return [table("Both sides in the last seven days", [
    { label: "Side", head: true },
    { label: "Requests", number: true },
    { label: "With a verdict", number: true },
    { label: "Mean verdict", number: true },
    { label: "Cost", number: true },
  ], rows), el("p", { id: "ab-verdict" }, words)];
}

function explainer(route) {
  const prompt = el("textarea", { id: "prompt", rows: 4, required: true });
  const dial = el("input", { id: "at", type: "number", min: 0, max: 1, step: "any", placeholder: "the route's own" });
  const told = el("div", { id: "explained", "aria-live": "polite" });
  return [
    el("p", { class: "quiet" }, "Nothing is sent to a model, and nothing is kept."),
    el("form", {
      submit: (event) => {
        event.preventDefault();
        const quality = dial.value === "" ? null : Number(dial.value);
        fill(told, async () => explained(await ask("pointsman/v1/routes/explain",
          { model: route.name, prompt: prompt.value, quality })));
      },
    },
    el("p", null, el("label", { for: "prompt" }, "Prompt"), prompt),
    el("p", { class: "row" }, el("label", { for: "at" }, "Dial"), dial,
      el("button", { type: "submit", class: "main" }, "Explain"))),
    told,
  ];
}

function explained(decision) {
  const rows = decision.candidates.map((each) => ({
    mark: each.status === "chosen" ? "chosen" : each.ref === decision.runner_up ? "runner-up" : null,
    cells: [
      each.ref,
      each.status === "excluded" ? "–" : percent(each.p_success),
      each.status === "excluded" ? "–" : usd(each.cost_usd),
      each.utility === null ? "–" : each.utility.toFixed(3),
      each.status === "excluded" ? `left out: ${each.why}` : each.why,
    ],
  }));
  const found = [
    el("p", { class: "choice" }, "Chosen: ", el("strong", null, decision.chosen),
      decision.runner_up === null ? ", and there is no runner-up." : ["; runner-up: ", el("strong", null, decision.runner_up), "."]),
    el("p", null, `Why: ${decision.reasons.join("; ") || "no reason is given"} (dial ${Number(decision.dial.toFixed(4))}).`),
    table("Candidates for this prompt", [
      { label: "Candidate", head: true },
      { label: "P(success)", number: true },
      { label: "Expected cost", number: true },
      { label: "Utility", number: true },
      { label: "Why" },
    ], rows, { stack: true }),
  ];
  if (decision.pushes.length) {
    found.push(el("details", null,
      el("summary", null, "What in the prompt moved the classifier"),
      table("Features of the prompt", [{ label: "Feature", head: true }, { label: "Raises P(a weak model will do) by", number: true }],
        decision.pushes.map(({ feature, by }) => [feature, signed(by * 100, " points")]))));
  }
  return found;
}
