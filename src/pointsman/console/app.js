// The console: which page is shown is in the address, after the hash.

import { forgetKey, hasKey } from "./api.js";
import { say } from "./dom.js";
import { overview } from "./overview.js";
import { routes } from "./routes.js";
import { trust } from "./trust.js";

const PAGES = { overview, routes, trust };
const main = document.getElementById("main");

function place() {
  const [name, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  let argument = rest.join("/");
  try {
    argument = decodeURIComponent(argument);
  } catch {
    // A broken escape: as it stands.
  }
  return Object.hasOwn(PAGES, name) ? [name, argument] : ["overview", ""];
}

function show(byHand) {
  const [name, argument] = place();
  for (const link of document.querySelectorAll("nav a")) {
    const own = link.getAttribute("href") === `#/${name}`;
    if (own) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.title = `${name[0].toUpperCase()}${name.slice(1)} – Pointsman`;
  say("");
  main.replaceChildren(...PAGES[name](argument));
  if (byHand) main.focus({ preventScroll: name === "routes" && argument !== "" });
}

document.getElementById("refresh").addEventListener("click", () => show(false));
document.getElementById("forget").addEventListener("click", (event) => {
  forgetKey();
  event.currentTarget.hidden = true;
  show(false);
});
document.getElementById("forget").hidden = !hasKey();
document.querySelector(".skip").addEventListener("click", (event) => {
  event.preventDefault();
  main.focus();
});
window.addEventListener("hashchange", () => show(true));
show(false);
