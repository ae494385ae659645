// The sampling options: one table of them, their fields in the page, and what a request says of them.
import {make, remember, remembered} from "./elements.js";

// A value equal to `off` is left out of the request: it is the server's default.
const numbers = [
  {name: "max_tokens", label: "Tokens at most", value: 128, min: 1, max: 1000000, step: 1},
  {name: "temperature", label: "Temperature", value: 1, min: 0, max: 100, step: "any",
   hint: "0: always the likeliest; above 1: flatter"},
  {name: "top_k", label: "Top k", value: 0, min: 0, max: 1000000, step: 1, off: 0, hint: "only the k likeliest; 0: all"},
  {name: "top_p", label: "Top p", value: 1, min: 0, max: 1, step: "any",
   hint: "only the likeliest that reach this probability"},
  {name: "min_p", label: "Min p", value: 0, min: 0, max: 1, step: "any", off: 0,
   hint: "only those at least this part as likely as the likeliest"},
  {name: "repetition_penalty", label: "Repetition penalty", value: 1, min: 0.01, max: 100, step: "any", off: 1,
   hint: "above 1: what prompt and text have becomes less likely"},
  {name: "presence_penalty", label: "Presence penalty", value: 0, min: -2, max: 2, step: "any", off: 0,
   hint: "above 0: what the text has becomes less likely, once"},
  {name: "frequency_penalty", label: "Frequency penalty", value: 0, min: -2, max: 2, step: "any", off: 0,
   hint: "above 0: less likely each time the text has it"},
  {name: "seed", label: "Seed", value: "", min: 0, max: Number.MAX_SAFE_INTEGER, step: 1, optional: true,
   hint: "empty: another each time"},
];

export class Options {
  constructor(form) {
    this.form = form;
    const kept = remembered("options", {});
    this.fields = new Map();
    for (const option of numbers) {
      const field = make("input", {type: "number", name: option.name, min: option.min, max: option.max, step: option.step,
                                   inputmode: "decimal", required: !option.optional});
      this.add(option, field, kept[option.name] ?? option.value);
    }
    this.add({name: "stop", label: "Stop at", hint: "texts that end the completion, one a line"},
             make("textarea", {name: "stop", rows: 2, dir: "auto", spellcheck: "false"}), kept.stop ?? "");
    this.add({name: "logit_bias", label: "Token biases", hint: "one “id: bias” a line; −100 forbids a token"},
             make("textarea", {name: "logit_bias", rows: 2, spellcheck: "false"}), kept.logit_bias ?? "");
    form.append(make("button", {type: "button", class: "quiet", onclick: () => this.reset()}, "Defaults"));
    form.addEventListener("change", () => remember("options", this.values()));
    form.addEventListener("submit", (event) => event.preventDefault());
  }

  add({name, label, hint, value}, field, start) {
    field.id = `option-${name}`;
    field.value = start;
    this.fields.set(name, {field, value: value ?? ""});
    const parts = [make("label", {for: field.id}, label), field];
    if (hint) {
      field.setAttribute("aria-describedby", `${field.id}-hint`);
      parts.push(make("span", {class: "hint", id: `${field.id}-hint`}, hint));
    }
    this.form.append(make("div", {class: "field"}, ...parts));
  }

  values() {
    return Object.fromEntries([...this.fields].map(([name, {field}]) => [name, field.value]));
  }

  // Sets the fields, as values() gives them.
  fill(values) {
    for (const [name, {field, value}] of this.fields) field.value = values?.[name] ?? value;
    remember("options", this.values());
  }

  reset() {
    this.fill({});
  }

  // The fields of the request; null, with the mistake shown, if one cannot be meant as it is.
  request() {
    const biases = this.fields.get("logit_bias").field;
    const pairs = biases.value.split("\n").filter((line) => line.trim() !== "")
      .map((line) => line.match(/^\s*(\d+)\s*[:=\s]\s*([-−+]?[\d.]+)\s*$/));
    biases.setCustomValidity(pairs.includes(null) ? "Lines of “id: bias”, for example 198: -100" : "");
    if (!this.form.reportValidity()) return null;
    const request = {};
    for (const {name, off} of numbers) {
      const text = this.fields.get(name).field.value;
      if (text !== "" && Number(text) !== off) request[name] = Number(text);
    }
    const stops = this.fields.get("stop").field.value.split("\n").filter((line) => line !== "");
    if (stops.length > 0) request.stop = stops;
    if (pairs.length > 0) {
      request.logit_bias = Object.fromEntries(pairs.map(([, id, bias]) => [id, Number(bias.replace("−", "-"))]));
    }
    return request;
  }
}
