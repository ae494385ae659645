// The runs' part of the page: which runs show, their charts, samples, memory and options, followed as they grow.
import {getJson} from "./api.js";
import {Chart} from "./chart.js";
import {byId, make, remember, remembered} from "./elements.js";
import {Run} from "./runs.js";
import {shortNumber, smoothed, tickText} from "./series.js";

const pollMilliseconds = 2000;
const slowMilliseconds = 10000;  // after a failure
const charts = [
  {title: "Loss", metrics: ["loss", "val_loss"], log: true},
  {title: "Learning rate", metrics: ["lr"]},
  {title: "Gradient norm", metrics: ["norm"], log: true},
  {title: "Tokens a second", metrics: ["tokens_per_second"]},
];
const unsmoothed = ["lr", "val_loss"];

export class Dashboard {
  constructor(listed) {
    byId("no-runs").hidden = listed.length > 0;
    byId("board").hidden = listed.length === 0;
    this.runs = listed.map((entry, index) => new Run(index, entry));
    this.hiddenRuns = new Set();
    this.range = null;
    this.timer = 0;
    this.shown = false;
    this.charts = charts.map((chart) => ({...chart, view: new Chart(chart.title, {zoom: (range) => this.zoom(range)})}));
    byId("charts").append(...this.charts.map(({view}) => view.element));
    this.makeRunList();
    this.listen();
  }

  show(shown) {
    this.shown = shown;
    clearTimeout(this.timer);
    if (shown) this.poll();
  }

  listen() {
    const smoothing = byId("smoothing"), log = byId("log-scale");
    smoothing.value = remembered("smoothing", smoothing.value);
    log.checked = remembered("log-scale", false) === true;
    const changed = () => {
      byId("smoothing-value").value = this.smoothing().toFixed(3);
      smoothing.setAttribute("aria-valuetext", this.smoothing().toFixed(3));
      remember("smoothing", Number(smoothing.value));
      remember("log-scale", log.checked);
      this.draw();
    };
    smoothing.addEventListener("input", changed);
    log.addEventListener("change", changed);
    changed();
    byId("zoom-in").addEventListener("click", () => this.charts[0].view.scale(0.5));
    byId("zoom-out").addEventListener("click", () => this.charts[0].view.scale(2));
    byId("zoom-reset").addEventListener("click", () => this.zoom(null));
    byId("only-different").addEventListener("change", () => this.drawOptions());
    document.addEventListener("visibilitychange", () => this.show(this.shown));
  }

  // Asks for what is new, shows it, and asks again later; not while nobody looks.
  async poll() {
    if (!this.shown || document.hidden || this.runs.length === 0) return;
    clearTimeout(this.timer);
    let wait = pollMilliseconds;
    try {
      const {runs} = await getJson("api/runs");
      await Promise.all(runs.map((entry, index) => this.runs[index]?.update(entry)));
      byId("runs-status").textContent = "";
      this.draw();
      this.drawAbout();
    } catch (error) {
      wait = slowMilliseconds;
      byId("runs-status").textContent = `${error.message} Trying again.`;
    }
    if (!this.shown) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.poll(), wait);
  }

  async zoom(range) {
    const last = Math.max(...this.runs.map(({listed}) => listed.last_step));
    this.range = range && (range[0] > 0 || range[1] < last) ? range : null;
    byId("zoom-reset").disabled = this.range === null;
    this.draw();
    try {
      await Promise.all(this.runs.map((run) => run.look(this.range)));
      this.draw();
    } catch (error) {
      byId("runs-status").textContent = error.message;
    }
  }

  // What a run is called here: two of one name are told apart.
  label(run) {
    const earlier = this.runs.filter(({name, index}) => name === run.name && index < run.index).length;
    return earlier > 0 ? `${run.name} (${earlier + 1})` : run.name;
  }

  visibleRuns() {
    return this.runs.filter(({index}) => !this.hiddenRuns.has(index));
  }

  makeRunList() {
    for (const run of this.runs) {
      const box = make("input", {type: "checkbox", checked: true, onchange: () => {
        if (box.checked) this.hiddenRuns.delete(run.index);
        else this.hiddenRuns.add(run.index);
        this.draw();
        this.drawAbout();
      }});
      run.note = make("span", {class: "hint"});
      byId("run-list").append(make("label", {class: "run"}, box, make("span", {class: `swatch slot-${run.index % 8}`}),
                                   make("bdi", {class: "name"}, this.label(run)), run.note));
    }
  }

  // The average's weight; as far along the slider as it has nines.
  smoothing() {
    return 1 - 10 ** -Number(byId("smoothing").value);
  }

  draw() {
    const weight = this.smoothing(), log = byId("log-scale").checked;
    for (const chart of this.charts) {
      const lines = [];
      for (const run of this.visibleRuns()) {
        for (const metric of chart.metrics) {
          const series = run.seriesOf(metric, this.range);
          if (series.step.length === 0) continue;
          const validation = metric === "val_loss";
          lines.push({name: this.label(run) + (validation ? ", validation" : ""), slot: run.index, series,
                      kind: validation ? "marks" : "line",
                      smooth: weight > 0 && !unsmoothed.includes(metric) ? smoothed(series, weight) : null});
        }
      }
      chart.view.set(lines, this.range, log && chart.log === true);
    }
  }

  drawAbout() {
    for (const run of this.runs) run.note.textContent = describe(run);
    this.drawSamples();
    this.drawMemory();
    this.drawOptions();
  }

  // Each run's samples: the newest, and a choice of the earlier ones. Left alone where nothing has changed: somebody
  // may be reading, or choosing.
  drawSamples() {
    const state = this.visibleRuns().map(({index, detailsOf}) => `${index} ${detailsOf}`).join();
    if (state === this.samplesOf) return;
    this.samplesOf = state;
    const articles = this.visibleRuns().map((run) => {
      const samples = run.details?.samples ?? [];
      const title = make("h3", {}, make("span", {class: `swatch slot-${run.index % 8}`}), make("bdi", {}, this.label(run)));
      if (samples.length === 0) return make("article", {}, title, make("p", {class: "hint"}, "No samples yet."));
      const text = make("div", {class: "text sample", dir: "auto", tabindex: "0"});
      const choice = make("select", {"aria-label": `Sample of ${this.label(run)}`});
      samples.forEach(({step}, i) => choice.append(make("option", {value: i}, `step ${step}`)));
      const show = () => text.replaceChildren(samples[choice.value].text || "(empty)");
      choice.addEventListener("change", show);
      choice.value = samples.length - 1;
      show();
      return make("article", {}, make("div", {class: "row"}, title, choice), text);
    });
    byId("samples").replaceChildren(...articles);
  }

  drawMemory() {
    byId("memory").replaceChildren(...this.visibleRuns().map((run) => {
      const title = make("h3", {}, make("span", {class: `swatch slot-${run.index % 8}`}), make("bdi", {}, this.label(run)));
      const memory = run.details?.about?.memory;
      if (!Array.isArray(memory) || memory.length === 0) {
        return make("article", {}, title, make("p", {class: "hint"}, "Not recorded."));
      }
      const most = Math.max(...memory.map(({bytes}) => bytes)), total = memory.reduce((sum, {bytes}) => sum + bytes, 0);
      const row = ({name, bytes}) => {
        const bar = make("span", {class: `bar slot-${run.index % 8}`});
        bar.style.width = `${100 * bytes / most}%`;
        return make("tr", {}, make("th", {scope: "row"}, name), make("td", {}, bar),
                    make("td", {class: "number"}, bytesText(bytes)));
      };
      const sum = make("tr", {}, make("th", {scope: "row"}, "together"), make("td"), make("td", {class: "number"}, bytesText(total)));
      return make("article", {}, title, make("table", {}, make("tbody", {}, ...memory.map(row), sum)));
    }));
  }

  drawOptions() {
    const runs = this.visibleRuns(), options = runs.map((run) => run.options());
    const names = [...new Set(options.flatMap((map) => [...map.keys()]))];
    const rows = names.map((name) => {
      const values = options.map((map) => map.get(name) ?? "–");
      const recorded = values.filter((value, i) => options[i].size > 0);
      const different = recorded.some((value) => value !== recorded[0]);
      if (byId("only-different").checked && !different) return null;
      return make("tr", {class: different ? "different" : null}, make("th", {scope: "row"}, name),
                  ...values.map((value) => make("td", {dir: "auto"}, value)));
    }).filter((row) => row !== null);
    if (rows.length === 0) {
      const text = names.length === 0 ? "Not recorded." : "No option differs between the runs that show.";
      byId("run-options").replaceChildren(make("p", {class: "hint"}, text));
      return;
    }
    const head = make("tr", {}, make("th", {scope: "col"}, "option"),
                      ...runs.map((run) => make("th", {scope: "col"}, make("bdi", {}, this.label(run)))));
    byId("run-options").replaceChildren(make("table", {}, make("thead", {}, head), make("tbody", {}, ...rows)));
  }
}

function bytesText(bytes) {
  for (const [unit, size] of [["GiB", 2 ** 30], ["MiB", 2 ** 20], ["KiB", 2 ** 10]]) {
    if (bytes >= size) return `${(bytes / size).toFixed(unit === "GiB" ? 2 : 1)} ${unit}`;
  }
  return `${bytes} B`;
}

function ago(seconds) {
  if (seconds < 60) return `${Math.round(seconds)} s ago`;
  if (seconds < 3600) return `${Math.round(seconds / 60)} min ago`;
  if (seconds < 2 * 86400) return `${Math.round(seconds / 3600)} h ago`;
  return `${Math.round(seconds / 86400)} days ago`;
}

// "step 120 of 2000 · loss 2.31 · validation 2.4 · 0.8M parameters · written 3 s ago"
function describe({listed, series, details}) {
  if (listed.last_step < 0) return "nothing recorded yet";
  const about = details?.about ?? {};
  const parts = [`step ${listed.last_step}` + (about.steps > 0 ? ` of ${about.steps}` : "")];
  for (const [metric, word] of [["loss", "loss"], ["val_loss", "validation"]]) {
    const value = series[metric]?.mean.findLast((mean) => mean !== null);
    if (value !== undefined) parts.push(`${word} ${shortNumber(value, 4)}`);
  }
  if (about.parameters > 0) parts.push(`${tickText(Number(about.parameters.toPrecision(4)))} parameters`);
  if (listed.bad_lines > 0) parts.push(`${listed.bad_lines} lines of its log are damaged`);
  if (listed.updated_seconds !== null) parts.push(`written ${ago(listed.updated_seconds)}`);
  return parts.join(" · ");
}
