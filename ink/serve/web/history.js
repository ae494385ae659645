// Completions of earlier times, in this browser's storage: so many, so large in all, and gone when the user says so.
import {make, remember, remembered} from "./elements.js";

const maxEntries = 50;
const maxCharacters = 2000000;  // browsers keep about five million for a site

const isEntry = (entry) => typeof entry === "object" && entry !== null && typeof entry.id === "string" &&
  typeof entry.prompt === "string" && Array.isArray(entry.pieces) &&
  entry.pieces.every((piece) => typeof piece?.text === "string" && Array.isArray(piece.tokens));

export class History {
  // open(entry) is called for the one that is chosen. An entry is {id, when, prompt, pieces, options, note}.
  constructor(list, clearButton, open) {
    this.list = list;
    this.open = open;
    this.current = "";
    clearButton.addEventListener("click", () => {
      if (confirm("Forget all completions that this browser has kept?")) this.store([]);
    });
    window.addEventListener("storage", (event) => event.key === "ink.history" && this.load());
    this.load();
  }

  load() {
    const kept = remembered("history", []);
    this.entries = Array.isArray(kept) ? kept.filter(isEntry) : [];
    this.draw();
  }

  // Adds an entry, or replaces the one of the same id.
  save(entry) {
    this.current = entry.id;
    this.store([entry, ...this.entries.filter(({id}) => id !== entry.id)]);
  }

  // Keeps the newest that fit.
  store(entries) {
    const kept = [];
    let characters = 0;
    for (const entry of entries.slice(0, maxEntries)) {
      characters += JSON.stringify(entry).length;
      if (characters > maxCharacters) break;
      kept.push(entry);
    }
    while (!remember("history", kept) && kept.length > 0) kept.pop();
    this.entries = kept;
    this.draw();
  }

  select(id) {
    this.current = id;
    this.draw();
  }

  draw() {
    this.list.replaceChildren(...this.entries.map((entry) => {
      const generated = entry.pieces.map(({text}) => text).join("").slice(0, 200);
      const title = (entry.prompt.slice(-200) + generated).trim() || "(empty)";
      const when = new Date(entry.when);
      const choose = make("button", {type: "button", class: "entry", "aria-current": entry.id === this.current && "true",
                                     onclick: () => this.open(entry)},
                          make("span", {class: "line", dir: "auto"}, title),
                          make("span", {class: "hint"}, `${when.toLocaleString()} · ${entry.note ?? ""}`));
      const remove = make("button", {type: "button", class: "quiet", "aria-label": `Forget “${title.slice(0, 40)}”`,
                                     title: "Forget", onclick: () => {
        this.store(this.entries.filter(({id}) => id !== entry.id));
      }}, "×");
      return make("li", {}, choose, remove);
    }));
    if (this.entries.length === 0) this.list.append(make("li", {class: "hint"}, "Nothing yet."));
  }
}
