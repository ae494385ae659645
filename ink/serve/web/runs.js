// The runs as the server knows them: what it told so far, and asking for what is new. No elements here.
import {getJson} from "./api.js";
import {merged} from "./series.js";

export class Run {
  constructor(index, listed) {
    this.index = index;
    this.listed = listed;  // its entry of /api/runs
    this.series = {};
    this.cursor = "";
    this.details = null;  // {options, about, samples}
    this.detailsOf = "";
    this.window = null;  // {range, series}: finer series of a range of steps
  }

  get name() {
    return this.listed.name;
  }

  // A series, as fine as there is for the range of steps that shows.
  seriesOf(metric, range) {
    const fits = this.window && range && this.window.range.join() === range.join();
    return (fits ? this.window.series : this.series)[metric] ?? {size: 1, step: [], mean: []};
  }

  async update(listed) {
    this.listed = listed;
    const answer = await getJson(`api/runs/metrics?run=${this.index}&from=${this.cursor}`);
    if (answer.reset) this.series = {};
    for (const [metric, fresh] of Object.entries(answer.series)) {
      this.series[metric] = merged(this.series[metric], fresh);
    }
    this.cursor = answer.cursor;
    const newest = `${listed.generation} ${listed.last_sample} ${listed.last_step < 0}`;
    if (this.detailsOf === newest) return;
    this.details = await getJson(`api/runs/details?run=${this.index}`);
    this.detailsOf = newest;
  }

  // Asks for the steps in a range where what is here is coarse. Everything, with null.
  async look(range) {
    const coarse = Object.values(this.series).some(({size}) => size > 1);
    if (!range || !coarse) {
      this.window = null;
      return;
    }
    const [first, last] = range;
    const {series} = await getJson(`api/runs/metrics?run=${this.index}&first=${first}&last=${last}`);
    this.window = {range, series};
  }

  // The options of run.toml, a Map of name to value as it is written there.
  options() {
    const options = new Map();
    for (const line of (this.details?.options ?? "").split("\n")) {
      const at = line.indexOf(" = ");
      if (at > 0 && !line.startsWith("#")) options.set(line.slice(0, at), line.slice(at + 3));
    }
    return options;
  }
}
