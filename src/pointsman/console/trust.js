// Trust: how each model on this machine stands, and what can be done about it.

import { ask } from "./api.js";
import { askLine, el, fill, say, table } from "./dom.js";

const MODE = {
  enforce: "Only models whose files were checked and accepted are loaded.",
  warn: "What was not accepted is loaded all the same, and the gateway's log says so. Quarantine holds.",
  off: "Nothing is checked before a model is loaded, and quarantine does not hold.",
};
const STATE = {
  accepted: "accepted", refused: "refused", unchecked: "not checked", quarantined: "in quarantine",
};
// What the checks of this visit came to, by model: the gateway itself keeps their rules alone.
const reports = new Map();

/** Give the page's content. */
export function trust() {
  const content = el("div");
  const reload = () => fill(content, () => standings(reload));
  reload();
  return [el("h1", null, "Trust"), content];
}

async function standings(reload) {
  const { mode, models } = await ask("pointsman/v1/trust");
  const words = el("p", null, "Mode ", el("strong", null, mode), `: ${MODE[mode] ?? ""}`);
  if (!models.length) return [words, el("p", null, "There are no models on this machine.")];
  const rows = models.map((model) => [
    `local:${model.name}`,
    el("span", { class: `state ${Object.hasOwn(STATE, model.state) ? model.state : ""}` }, STATE[model.state] ?? model.state),
    [model.why, reports.has(model.name) ? checked(reports.get(model.name)) : null],
    [model.source || "unknown", model.sha256 ? el("code", { class: "hash" }, model.sha256) : null],
    actions(model, reload),
  ]);
  return [
    words,
    table("Models on this machine", [
      { label: "Model", head: true }, { label: "State" }, { label: "Why" }, { label: "From" }, { label: "Do" },
    ], rows, { stack: true }),
    el("p", { class: "quiet" }, "A check looks for what is in its rules, and says \"nothing found\", never \"clean\". "
      + "pointsman trust verify and pointsman trust probe look further."),
  ];
}

function checked(report) {
  const parts = [];
  if (report.status === "clean") parts.push(el("p", null, "Just checked: nothing found in what was looked at."));
  for (const each of report.findings) {
    const where = each.line ? `, line ${each.line}` : each.offset === undefined || each.offset === null ? "" : `, byte ${each.offset}`;
    parts.push(el("div", { class: "finding" },
      el("p", null, el("strong", null, `${each.severity}: ${each.rule}`), ` in ${each.path}${where}`),
      el("p", null, each.message),
      each.why ? el("p", null, `Why it matters: ${each.why}`) : null,
      each.fix ? el("p", null, `What to do: ${each.fix}`) : null));
  }
  for (const each of report.incomplete) parts.push(el("p", { class: "finding" }, `Could not be checked: ${each}`));
  return el("details", { open: true }, el("summary", null, "The check"), parts);
}

function actions(model, reload) {
  const own = (label, work) => el("button", {
    type: "button",
    "aria-label": `${label} local:${model.name}`,
    click: async (event) => {
      const button = event.currentTarget;
      button.disabled = true;
      try {
        if (await work()) {
          await reload();
          // The button that was pressed is gone with its table; who goes by keys stays at this model.
          document.querySelector(`button[aria-label="${CSS.escape(`Verify local:${model.name}`)}"]`)?.focus();
        }
      } catch (error) {
        say(error.message);
      } finally {
        button.disabled = false;
      }
    },
  }, label);
  const buttons = [own("Verify", () => verify(model))];
  if (model.state === "quarantined") buttons.push(own("Release", () => release(model)));
  else buttons.push(own("Quarantine", () => quarantine(model)));
  return el("div", { class: "row" }, buttons);
}

async function verify({ name }) {
  say(`Checking local:${name} …`);
  const report = await ask("pointsman/v1/trust/verify", { name });
  reports.set(name, report);
  const found = { clean: "nothing found", findings: `${report.findings.length} findings`, incomplete: "not all of it could be checked" };
  say(`local:${name}: ${found[report.status] ?? report.status}.`);
  return true;
}

async function quarantine({ name }) {
  const reason = await askLine({
    title: "Put into quarantine",
    text: `local:${name} is refused from now on, and unloaded if it runs, until it is released.`,
    label: "Reason",
    button: "Quarantine",
    required: true,
    maxlength: 300,
  });
  if (reason === null) return false;
  await ask("pointsman/v1/trust/quarantine", { name, reason });
  say(`local:${name} is in quarantine.`);
  return true;
}

async function release({ name }) {
  const { released } = await ask("pointsman/v1/trust/release", { name });
  say(released ? `local:${name} is released.` : `local:${name} was not in quarantine.`);
  return true;
}
