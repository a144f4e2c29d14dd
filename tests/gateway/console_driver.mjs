// Uses the console as a person does, at each size that it is told; gives what was seen.

import { readFileSync, writeFileSync } from "node:fs";
import { chromium } from "playwright-core";

const task = JSON.parse(readFileSync(process.argv[2], "utf8"));
const browser = await chromium.launch({ executablePath: task.chromium, args: ["--no-sandbox"] });
const found = [];
for (const view of task.views) found.push(await visit(view));
await browser.close();
writeFileSync(task.out, JSON.stringify(found));

async function visit({ width, scheme }) {
  const context = await browser.newContext({ viewport: { width, height: 900 }, colorScheme: scheme });
  const page = await context.newPage();
  page.setDefaultTimeout(30000);
  const seen = { width, errors: [], requests: [], violations: [] };
  page.on("pageerror", (error) => seen.errors.push(String(error)));
  page.on("console", (message) => ["error", "warning"].includes(message.type()) && seen.errors.push(message.text()));
  page.on("request", (request) => seen.requests.push(request.url()));
  page.on("dialog", (dialog) => {
    seen.errors.push(`a dialog: ${dialog.message()}`);
    dialog.dismiss();
  });
  await page.exposeFunction("violated", (text) => seen.violations.push(text));
  await page.addInitScript(() => document.addEventListener("securitypolicyviolation",
    (event) => window.violated(`${event.effectiveDirective} ${event.blockedURI}`)));
  await page.goto(task.address);
  if (task.key) seen.key = await giveKey(page, task.key);
  await settled(page, "Overview");
  seen.overview = await text(page, "main");
  await shot(page, "overview", width);

  await page.click("nav a[href='#/routes']");
  await page.waitForSelector(".chart svg");
  await settled(page, "Routes");
  seen.routes = await text(page, "main section:first-of-type");
  seen.curve = await page.evaluate(() => {
    const svg = document.querySelector(".chart svg");
    return {
      title: svg.querySelector("title").textContent,
      levels: svg.querySelectorAll("circle.level").length,
      band: svg.querySelector("path.band").getBBox().height,
      singles: svg.querySelectorAll("g.single").length,
      width: svg.getBoundingClientRect().width,
      font: parseFloat(getComputedStyle(svg.querySelector("text")).fontSize),
    };
  });
  seen.legend = await text(page, ".legend");
  await page.focus("#dial");
  seen.told = [await text(page, "#told")];
  await page.keyboard.press("End");
  seen.told.push(await text(page, "#told"));
  await page.click("summary");
  seen.settings = await rows(page, "What each setting comes to");
  seen.week = await rows(page, "The last seven days at each setting");
  seen.sides = await rows(page, "Both sides in the last seven days");
  await page.fill("#prompt", task.prompt);
  await page.fill("#at", "0.9");
  await page.click('main button:text-is("Explain")');
  await page.waitForSelector("#explained table");
  seen.explained = await text(page, "#explained");
  seen.candidates = await rows(page, "Candidates for this prompt");
  await shot(page, "routes", width);
  seen.wide = [await overflow(page)];

  await page.focus("nav a[href='#/trust']");
  await page.keyboard.press("Enter");
  await settled(page, "Trust");
  seen.standing = [await rows(page, "Models on this machine")];
  await page.click("button[aria-label='Verify local:odd']");
  await page.waitForSelector(".finding");
  seen.finding = await text(page, ".finding");
  await page.click("button[aria-label='Verify local:tiny']");
  await page.waitForSelector("text=nothing found in what was looked at");
  await settled(page, "Trust");
  seen.standing.push(await rows(page, "Models on this machine"));
  await page.click("button[aria-label='Quarantine local:tiny']");
  await page.waitForSelector("dialog[open]");
  await page.keyboard.press("Escape");
  await page.waitForSelector("dialog", { state: "detached" });
  await page.click("button[aria-label='Quarantine local:tiny']");
  await page.waitForSelector("dialog[open]");
  seen.focused = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.type(task.reason);
  await shot(page, "asked", width);
  await page.keyboard.press("Enter");
  await page.waitForSelector("button[aria-label='Release local:tiny']");
  seen.said = [await text(page, "#said")];
  await page.waitForFunction(() => document.activeElement.tagName === "BUTTON");
  seen.standing.push(await rows(page, "Models on this machine"));
  await shot(page, "trust", width);
  seen.wide.push(await overflow(page));
  await page.click("button[aria-label='Release local:tiny']");
  await page.waitForSelector("button[aria-label='Quarantine local:tiny']");
  seen.said.push(await text(page, "#said"));
  seen.standing.push(await rows(page, "Models on this machine"));
  seen.images = await page.evaluate(() => document.querySelectorAll("main img, main script, main b").length);
  seen.unnamed = await page.evaluate(() => [...document.querySelectorAll("button, input, textarea, a")]
    .filter((each) => !(each.textContent.trim() || each.labels?.length)).length);
  seen.kept = await page.evaluate(() => [Object.values(sessionStorage), Object.values(localStorage), document.cookie]);
  await context.close();
  return seen;
}

async function giveKey(page, key) {
  await page.waitForSelector("dialog[open]");
  const asked = await page.evaluate(() => document.querySelectorAll("dialog").length);
  await page.keyboard.type("not-this");
  await page.keyboard.press("Enter");
  await page.waitForSelector("text=is not the one");
  await page.keyboard.type(key);
  await page.keyboard.press("Enter");
  await page.waitForSelector("dialog", { state: "detached" });
  return asked;
}

async function settled(page, title) {
  await page.waitForFunction((wanted) => document.querySelector("h1")?.textContent === wanted
    && !document.querySelector("[aria-busy]"), title);
}

async function text(page, selector) {
  return page.evaluate((where) => document.querySelector(where).textContent, selector);
}

async function rows(page, caption) {
  return page.evaluate((wanted) => {
    const table = [...document.querySelectorAll("table")].find((each) => each.caption.textContent === wanted);
    return table ? [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => cell.textContent)) : null;
  }, caption);
}

async function overflow(page) {
  return page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
}

async function shot(page, name, width) {
  if (task.shots) await page.screenshot({ path: `${task.shots}/${name}-${width}.png`, fullPage: true });
}
