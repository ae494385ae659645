// The page as a whole: which of its parts are there, which one shows, the theme, the API key.
import {ApiError, getJson, useKey} from "./api.js";
import {Dashboard} from "./dashboard.js";
import {byId, remember, remembered} from "./elements.js";
import {Playground} from "./playground.js";

const themes = ["auto", "light", "dark"];

function showTheme(theme) {
  // Without the attribute the style sheet asks the system.
  if (theme === "auto") document.documentElement.removeAttribute("data-theme");
  else document.documentElement.setAttribute("data-theme", theme);
  byId("theme").textContent = `◐ ${theme}`;
  byId("theme").setAttribute("aria-label", `Theme: ${theme}`);
}

function startTheme() {
  let theme = themes.includes(remembered("theme", "auto")) ? remembered("theme", "auto") : "auto";
  showTheme(theme);
  byId("theme").addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    remember("theme", theme);
    showTheme(theme);
  });
}

function showProblem(text) {
  byId("problem").textContent = text;
  byId("problem").hidden = text === "";
}

// Shows the part that the address names, if this server has it, else the first it has.
function showPart(parts) {
  const wanted = location.hash.slice(1);
  if (wanted === "main") return;
  const shown = parts.has(wanted) ? wanted : parts.keys().next().value;
  for (const name of ["playground", "runs"]) {
    byId(name).hidden = name !== shown;
    if (name === shown) byId(`go-${name}`).setAttribute("aria-current", "page");
    else byId(`go-${name}`).removeAttribute("aria-current");
  }
  for (const [name, part] of parts) part.show(name === shown);
  document.title = shown === "runs" ? "Runs – Inkling" : "Playground – Inkling";
}

async function start() {
  showProblem("");
  let found;
  try {
    found = await getJson("api/runs");
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status !== 401) showProblem(error.message + " Reload the page to try again.");
    return;
  }
  byId("key-form").hidden = true;
  const parts = new Map();
  if (found.model) parts.set("playground", new Playground());
  if (!found.model || found.runs.length > 0) parts.set("runs", new Dashboard(found.runs));
  byId("pages").hidden = parts.size < 2;
  window.addEventListener("hashchange", () => showPart(parts));
  showPart(parts);
}

document.addEventListener("ink-key-wanted", () => {
  byId("key-form").hidden = false;
  byId("key").focus();
});
byId("key-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useKey(byId("key").value);
  location.reload();
});
startTheme();
start();
