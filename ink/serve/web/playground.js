// The playground: a prompt, a completion as it comes, and going on from any token of it.
import {complete, getJson, postJson} from "./api.js";
import {byId, remember, remembered} from "./elements.js";
import {History} from "./history.js";
import {Options} from "./options.js";
import {shortNumber} from "./series.js";
import {PieceBuffer, TokenView} from "./tokens.js";

const alternatives = 5;
const maxDraft = 100000;  // characters of a prompt that are kept for the next visit

const endings = {stop: "ended by itself", length: "reached the most tokens", stopped: "stopped", failed: "failed"};

export class Playground {
  constructor() {
    this.options = new Options(byId("options"));
    this.view = new TokenView(byId("output"), byId("popover"), (index, token) => this.branch(index, token));
    this.history = new History(byId("history"), byId("clear-history"), (entry) => this.open(entry));
    this.current = null;  // {id, when, model, prompt, pieces, options, note}
    this.abort = null;
    byId("prompt").value = remembered("prompt", "");
    this.listen();
    // On a small screen what matters comes first.
    if (window.matchMedia("(max-width: 50rem)").matches) {
      byId("options-panel").open = byId("history-panel").open = false;
    }
  }

  show(shown) {
    if (shown) byId("prompt").focus({preventScroll: true});
    else this.view.hide();
  }

  listen() {
    byId("prompt-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.generate();
    });
    byId("prompt").addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.generate();
    });
    byId("prompt").addEventListener("change", () => remember("prompt", byId("prompt").value.slice(0, maxDraft)));
    byId("stop").addEventListener("click", () => this.stop());
    byId("continue").addEventListener("click", () => this.run(this.current));
    byId("playground").addEventListener("keydown", (event) => event.key === "Escape" && this.stop());
    const colour = byId("colour");
    colour.checked = remembered("colour", false) === true;
    const paint = () => byId("output").classList.toggle("coloured", colour.checked);
    colour.addEventListener("change", () => {
      remember("colour", colour.checked);
      paint();
    });
    paint();
  }

  generate() {
    this.run({id: newId(), prompt: byId("prompt").value, pieces: []});
  }

  // Goes on with another token in the place of one; what was there stays in the history.
  branch(index, token) {
    const kept = this.current.pieces.slice(0, index);
    const {model, prompt} = this.current;
    this.run({id: newId(), model, prompt, pieces: [...kept, {text: token.text, tokens: [token]}]});
  }

  stop() {
    this.abort?.abort();
  }

  open(entry) {
    if (this.abort) return;
    this.current = entry;
    byId("prompt").value = entry.prompt;
    this.options.fill(entry.options);
    this.view.show(entry.prompt, entry.pieces);
    this.history.select(entry.id);
    byId("status").textContent = entry.note ?? "";
    byId("speed").textContent = "";
    this.setBusy(false);
  }

  setBusy(busy) {
    byId("generate").disabled = busy;
    byId("stop").disabled = !busy;
    byId("continue").disabled = busy || !this.current;
    byId("output").setAttribute("aria-busy", String(busy));
  }

  // Completes an entry's prompt and the pieces that it has already.
  async run({id, model, prompt, pieces}) {
    if (this.abort) return;
    const request = this.options.request();
    if (!request) return;
    request.seed ??= Math.floor(Math.random() * 2 ** 31);  // ours, so that it can be told and used again
    this.current = {id, when: Date.now(), model, prompt, pieces: [...pieces], options: this.options.values(), note: ""};
    this.view.show(prompt, pieces);
    byId("status").textContent = "Generating";
    byId("speed").textContent = "";
    this.abort = new AbortController();
    this.setBusy(true);
    const clock = new TokenClock();
    let ending = "stop", problem = "";
    try {
      ending = await this.fillContexts(request, clock);
    } catch (error) {
      ending = "failed";
      problem = this.abort.signal.aborted ? "" : error.message;
    }
    if (this.abort.signal.aborted) ending = "stopped";
    this.abort = null;
    this.finish(ending, problem, request.seed, clock);
  }

  // As many requests as it takes: where a text outgrows the model's context, its older half is forgotten, as in
  // `ink sample`. Returns why the completion ended.
  async fillContexts(request, clock) {
    const {signal} = this.abort;
    this.model ??= (await getJson("v1/models")).data[0];
    let ids = await this.tokensSoFar(signal);
    this.current.model = this.model.id;
    const {context} = this.model;
    for (let left = request.max_tokens, part = 0; ; ++part) {
      if (ids.length >= context) ids = ids.slice(-Math.ceil(context / 2));
      const some = {...request, max_tokens: Math.min(left, context - ids.length), seed: request.seed + part};
      const before = this.current.pieces.length;
      const ending = await this.stream({model: this.model.id, prompt: ids, ...some}, clock);
      left -= some.max_tokens;
      if (ending !== "length" || left <= 0 || signal.aborted) return ending;
      ids = ids.concat(idsOf(this.current.pieces.slice(before)));
    }
  }

  // The ids of the prompt and the pieces; made anew from the text where they are another model's.
  async tokensSoFar(signal) {
    const {model, prompt, pieces} = this.current;
    const same = model === this.model.id;
    const text = same ? prompt : prompt + pieces.map((piece) => piece.text).join("");
    const ids = same ? idsOf(pieces) : [];
    if (text !== "") return [...(await postJson("tokenize", {text}, signal)).tokens, ...ids];
    // What the server begins with where there is no prompt.
    const empty = {model: this.model.id, prompt: "", echo: true, max_tokens: 0, logprobs: 0, return_token_ids: true};
    return [...(await postJson("v1/completions", empty, signal)).choices[0].logprobs.token_ids, ...ids];
  }

  // Returns why this request ended.
  async stream(request, clock) {
    const buffer = new PieceBuffer();
    const add = (pieces) => {
      this.current.pieces.push(...pieces);
      this.view.append(pieces);
    };
    let ending = "stop";
    const wanted = {...request, logprobs: alternatives, return_token_ids: true};
    for await (const event of complete(wanted, this.abort.signal)) {
      const choice = event.choices?.[0];
      if (!choice) continue;
      clock.count(choice.logprobs?.tokens?.length ?? 0);
      add(buffer.push(choice));
      ending = choice.finish_reason ?? ending;
      byId("speed").textContent = clock.text();
    }
    add(buffer.finish());
    return ending;
  }

  finish(ending, problem, seed, clock) {
    const note = [clock.text(), problem || endings[ending] || ending, `seed ${seed}`].filter((part) => part !== "");
    this.current.note = note.join(" · ");
    byId("speed").textContent = "";
    byId("status").textContent = this.current.note;
    if (this.current.pieces.length > 0) this.history.save(this.current);
    this.setBusy(false);
  }
}

// Tokens and the time they took.
class TokenClock {
  constructor() {
    this.start = performance.now();
    this.first = this.last = 0;
    this.tokens = 0;
  }

  count(tokens) {
    if (tokens === 0) return;
    this.last = performance.now();
    if (this.tokens === 0) {
      this.first = this.last;
      this.firstTokens = tokens;
    }
    this.tokens += tokens;
  }

  // The speed is that after the first answer, which waits for the prompt.
  text() {
    if (this.tokens === 0) return "";
    const seconds = (this.last - this.first) / 1000, after = this.tokens - this.firstTokens;
    const speed = seconds > 0 && after > 0 ? `, ${shortNumber(after / seconds, 3)} tokens/s` : "";
    const wait = shortNumber((this.first - this.start) / 1000, 2);
    return `${this.tokens} ${this.tokens === 1 ? "token" : "tokens"}${speed}, the first after ${wait} s`;
  }
}

const idsOf = (pieces) => pieces.flatMap(({tokens}) => tokens.map(({id}) => id));

const newId = () => `${Date.now()}-${Math.random().toString(36).slice(2)}`;
