// A completion token by token: the text, each token's probability and alternatives, and the choice of another one.
//
// A piece is {text, tokens: [{id, text, logprob, top: [{id, text, logprob}]}]}: a part of the text and the tokens that
// made it, mostly one. Several tokens make a piece where none of them holds a whole character.
import {make} from "./elements.js";
import {shortNumber} from "./series.js";

// Puts the chunks of a stream together to pieces. A chunk's text may be held back, until its characters are whole and
// it cannot be the beginning of a stop text any more.
export class PieceBuffer {
  constructor() {
    this.text = "";
    this.tokens = [];
  }

  // The pieces that a choice of the stream completes.
  push(choice) {
    const known = choice.logprobs ?? {tokens: []};
    known.tokens.forEach((text, i) => {
      const token = {id: known.token_ids[i], text, logprob: known.token_logprobs[i]};
      const top = (known.alternatives[i] ?? []).map((other) => ({id: other.id, text: other.token, logprob: other.logprob}));
      if (!top.some(({id}) => id === token.id)) top.push(token);
      this.tokens.push({...token, top});
    });
    this.text += choice.text ?? "";
    const pieces = [];
    for (let piece = this.next(); piece; piece = this.next()) pieces.push(piece);
    return pieces;
  }

  next() {
    for (let count = 0; this.text !== "" && count < this.tokens.length; ++count) {
      const token = this.tokens[count].text;
      const at = count === 0 ? 0 : 1;  // a piece of tokens that do not fit has some text
      const end = token === "" ? -1 : this.text.indexOf(token, at);
      if (count === 0 && end === 0) return this.take(token.length, 1);
      if (count === 0 && token.startsWith(this.text)) return null;  // the rest of it is held back
      if (count > 0 && end > 0) return this.take(end, count);
    }
    return this.tokens.length === 0 && this.text !== "" ? this.take(this.text.length, 0) : null;
  }

  take(characters, count) {
    const piece = {text: this.text.slice(0, characters), tokens: this.tokens.splice(0, count)};
    this.text = this.text.slice(characters);
    return piece;
  }

  // What is left at the end.
  finish() {
    return this.text === "" ? [] : [this.take(this.text.length, this.tokens.length)];
  }
}

// Half of a character has no text: a server names its bytes instead.
const isWhole = (text) => !text.startsWith("bytes:") && !text.includes("\uFFFD");

// A token with its blanks visible.
const visible = (text) => text === "" ? "(nothing)" :
  text.replaceAll(" ", "␣").replaceAll("\n", "⏎").replaceAll("\t", "⇥").replaceAll("\r", "␍");

const percent = (logprob) => `${shortNumber(100 * Math.exp(logprob), 3)} %`;
const promptShown = 2000;  // characters of a long prompt, from its end

export class TokenView {
  // branch(index, token) is told which piece to replace by which token.
  constructor(output, popover, branch) {
    Object.assign(this, {output, popover, branch});
    this.pieces = [];
    this.active = -1;
    this.spoken = make("p", {class: "unseen", role: "status"});
    output.after(this.spoken);
    output.tabIndex = 0;
    output.addEventListener("mouseover", (event) => this.point(event.target, false));
    output.addEventListener("click", (event) => this.point(event.target, true));
    output.addEventListener("keydown", (event) => this.key(event));
    output.addEventListener("mouseleave", () => this.hideSoon());
    popover.addEventListener("mouseenter", () => clearTimeout(this.timer));
    popover.addEventListener("mouseleave", () => this.hideSoon());
    popover.addEventListener("keydown", (event) => this.popoverKey(event));
    document.addEventListener("pointerdown", (event) => {
      if (!popover.contains(event.target) && !output.contains(event.target)) this.hide();
    });
    window.addEventListener("scroll", () => this.active >= 0 && this.place(), {passive: true});
  }

  show(prompt, pieces) {
    this.hide();
    this.pieces = [];
    const shown = prompt.length > promptShown ? "…" + prompt.slice(-promptShown) : prompt;
    this.output.replaceChildren(make("span", {class: "prompt"}, shown));
    this.append(pieces);
  }

  append(pieces) {
    for (const piece of pieces) {
      const span = make("span", {class: "token", "data-index": this.pieces.length}, piece.text);
      const [token] = piece.tokens;
      if (token && token.logprob !== null) span.dataset.level = Math.min(4, Math.floor(5 * Math.exp(token.logprob)));
      this.pieces.push(piece);
      this.output.append(span);
    }
  }

  span(index) {
    return this.output.querySelector(`[data-index="${index}"]`);
  }

  point(target, pinned) {
    const span = target.closest?.(".token");
    clearTimeout(this.timer);
    if (!span || (this.pinned && !pinned)) return;
    this.pinned = pinned;
    this.activate(Number(span.dataset.index));
  }

  key(event) {
    const last = this.pieces.length - 1;
    const moves = {ArrowRight: this.active + 1, ArrowLeft: this.active < 0 ? last : this.active - 1, Home: 0, End: last};
    if (last < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in moves) {
      event.preventDefault();
      this.pinned = true;
      this.activate(Math.min(last, Math.max(0, moves[event.key])));
      this.spoken.textContent = this.popover.textContent;
    } else if (event.key === "Enter" && this.active >= 0) {
      event.preventDefault();
      this.popover.querySelector("button:enabled")?.focus();
    } else if (event.key === "Escape" && this.active >= 0) {
      event.stopPropagation();
      this.hide();
    }
  }

  popoverKey(event) {
    const buttons = [...this.popover.querySelectorAll("button:enabled")];
    const step = {ArrowDown: 1, ArrowUp: -1}[event.key];
    if (event.key === "Escape") {
      event.stopPropagation();
      this.output.focus();
      this.hide();
    } else if (step) {
      event.preventDefault();
      buttons[(buttons.indexOf(document.activeElement) + step + buttons.length) % buttons.length]?.focus();
    }
  }

  activate(index) {
    this.span(this.active)?.classList.remove("active");
    this.active = index;
    this.span(index).classList.add("active");
    this.popover.replaceChildren(...this.pieces[index].tokens.map((token) => this.describe(index, token)));
    if (this.pieces[index].tokens.length === 0) this.popover.append("Nothing is known of this text.");
    this.popover.hidden = false;
    this.place();
  }

  // A token's own probability, and a button for each alternative.
  describe(index, token) {
    const whole = this.pieces[index].tokens.length === 1;
    const head = make("p", {}, make("bdi", {class: "code"}, visible(token.text)),
                      token.logprob === null ? "" : ` ${percent(token.logprob)}`);
    const rows = token.top.map((other) => {
      const share = make("span", {class: "share"});
      share.style.width = `${100 * Math.exp(other.logprob)}%`;
      const same = other.id === token.id;
      const button = make("button", {
        type: "button", disabled: !whole || !isWhole(other.text), "aria-pressed": same && "true",
        title: isWhole(other.text) ? "Go on from here with this" : "Part of a character",
        onclick: () => {
          this.hide();
          this.output.focus();
          this.branch(index, {...other, top: token.top});
        },
      }, share, make("bdi", {class: "code"}, visible(other.text)), make("span", {}, percent(other.logprob)));
      return make("li", {}, button);
    });
    return make("div", {}, head, make("ul", {}, ...rows));
  }

  // Below the token, or above it where there is no room; never outside the window.
  place() {
    const span = this.span(this.active);
    if (!span || this.popover.hidden) return;
    const box = span.getClientRects()[0] ?? span.getBoundingClientRect();
    const {offsetWidth: width, offsetHeight: height} = this.popover;
    const below = box.bottom + 4 + height <= window.innerHeight || box.top < height + 4;
    const x = Math.max(4, Math.min(box.left, document.documentElement.clientWidth - width - 4));
    this.popover.style.left = `${x}px`;
    this.popover.style.top = `${below ? box.bottom + 4 : box.top - 4 - height}px`;
  }

  hideSoon() {
    clearTimeout(this.timer);
    if (!this.pinned) this.timer = setTimeout(() => this.hide(), 250);
  }

  hide() {
    clearTimeout(this.timer);
    this.span(this.active)?.classList.remove("active");
    this.active = -1;
    this.pinned = false;
    this.popover.hidden = true;
  }
}
