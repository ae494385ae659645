// One chart: lines over steps in SVG, with values under the pointer or the arrow keys, and zoom along the steps.
//
// A line is {name, slot, kind, series, smooth}: slot chooses the colour, kind is "line" or "marks", smooth are values to
// draw instead of the means, which then stay as a shade.
import {make, makeSvg} from "./elements.js";
import {firstAtLeast, makeAxis, nearest, rangeOf, shortNumber, tickText} from "./series.js";

const left = 52, right = 10, top = 8, bottom = 24;

export class Chart {
  // zoom(range) is told what range of steps is wished, [first, last], or null for all.
  constructor(title, {zoom}) {
    this.title = title;
    this.zoom = zoom;
    this.lines = [];
    this.range = null;
    this.log = false;
    this.cursor = null;  // the step whose values show
    this.svg = makeSvg("svg", {"aria-hidden": "true", focusable: "false"});
    this.readout = make("div", {class: "readout", role: "status"});
    this.plot = make("div", {class: "plot", tabindex: "0", role: "group", "aria-roledescription": "chart",
                             "data-chart": title}, this.svg, this.readout);
    this.element = make("figure", {class: "panel"}, make("figcaption", {}, make("h2", {}, title)), this.plot);
    this.listen();
    new ResizeObserver(() => this.draw()).observe(this.plot);
  }

  set(lines, range, log) {
    Object.assign(this, {lines, range, log});
    this.draw();
  }

  draw() {
    const width = this.plot.clientWidth, height = this.plot.clientHeight;
    if (width < left + right + 20) return;
    const shown = this.lines.map((line) => this.visible(line));
    this.svg.replaceChildren();
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    const steps = this.range ?? rangeOf(shown.map((line) => line.step));
    const accepted = this.log ? (value) => value > 0 : undefined;
    const values = rangeOf(shown.flatMap((line) => [line.low, line.high]), accepted);
    this.plot.setAttribute("aria-label", `${this.title}: ${this.summary(shown)}`);
    this.x = this.y = null;
    if (!steps || !values) {
      this.svg.append(makeSvg("text", {x: width / 2, y: height / 2, "text-anchor": "middle"}, "no values yet"));
      this.readout.hidden = true;
      return;
    }
    this.x = makeAxis(steps[0], steps[1], false, Math.max(2, width / 90));
    if (this.range) [this.x.low, this.x.high] = this.range;
    this.y = makeAxis(values[0], values[1], this.log, Math.max(2, height / 40));
    this.size = {width, height};
    this.drawAxes();
    for (const line of shown) this.drawLine(line);
    this.drawCursor();
  }

  across(step) {
    return left + (this.size.width - left - right) * this.x.place(step);
  }

  down(value) {
    return top + (this.size.height - top - bottom) * (1 - this.y.place(value));
  }

  // The part of a line in the range of steps, and one point on either side of it.
  visible({series, smooth, ...line}) {
    const {step, mean} = series;
    let begin = 0, end = step.length;
    if (this.range) {
      begin = firstAtLeast(step, this.range[0]);
      end = firstAtLeast(step, this.range[1] + 1);
      const crosses = begin < step.length && end > 0;  // it does not end before the range, or begin after it
      if (crosses) [begin, end] = [Math.max(0, begin - 1), end + 1];
    }
    const cut = (list) => list.slice(begin, end);
    return {...line, step: cut(step), mean: cut(mean), low: cut(series.low ?? mean), high: cut(series.high ?? mean),
            smooth: smooth && cut(smooth), thinned: series.low !== undefined};
  }

  drawAxes() {
    const {width, height} = this.size;
    const grid = makeSvg("g", {class: "grid"});
    for (const tick of this.y.ticks) {
      const y = this.down(tick);
      grid.append(makeSvg("path", {d: `M${left} ${y}H${width - right}`}),
                  makeSvg("text", {x: left - 6, y: y + 4, "text-anchor": "end"}, tickText(tick)));
    }
    for (const tick of this.x.ticks) {
      const x = this.across(tick);
      grid.append(makeSvg("path", {d: `M${x} ${height - bottom}v4`}),
                  makeSvg("text", {x: Math.min(x, width - 2), y: height - 6,
                                   "text-anchor": x > width - 24 ? "end" : "middle"}, tickText(tick)));
    }
    const id = `clip-${this.title.replaceAll(/\W/g, "-")}`;
    const clip = makeSvg("clipPath", {id}, makeSvg("rect", {
      x: left, y: top - 4, width: width - left - right, height: height - top - bottom + 8}));
    this.layer = makeSvg("g", {"clip-path": `url(#${id})`});
    this.svg.append(grid, clip, this.layer);
  }

  path(steps, values) {
    let path = "", penDown = false;
    for (let i = 0; i < steps.length; ++i) {
      const y = values[i] === null ? NaN : this.down(values[i]);
      if (!Number.isNaN(y)) path += `${penDown ? "L" : "M"}${this.across(steps[i]).toFixed(1)} ${y.toFixed(1)}`;
      penDown = !Number.isNaN(y);
    }
    return path;
  }

  drawLine(line) {
    const slot = `slot-${line.slot % 8}`;
    if (line.thinned) {
      const spread = line.step.map((step, i) => this.path([step, step], [line.low[i], line.high[i]])).join("");
      this.layer.append(makeSvg("path", {class: `${slot} spread`, d: spread}));
    }
    const mean = makeSvg("path", {class: slot, d: this.path(line.step, line.mean)});
    this.layer.append(mean);
    if (line.slot >= 8) mean.setAttribute("stroke-dasharray", "6 3");
    if (line.smooth) {
      mean.classList.add("faded");
      this.layer.append(makeSvg("path", {class: `${slot} strong`, d: this.path(line.step, line.smooth)}));
    }
    if (line.kind !== "marks") return;
    for (let i = 0; i < line.step.length; ++i) {
      const y = line.mean[i] === null ? NaN : this.down(line.mean[i]);
      if (Number.isNaN(y)) continue;
      this.layer.append(makeSvg("circle", {class: `${slot} mark`, cx: this.across(line.step[i]), cy: y, r: 3}));
    }
  }

  // The values nearest to the cursor's step, of the lines that are there about.
  drawCursor() {
    this.svg.querySelector(".cursor")?.remove();
    this.readout.hidden = this.cursor === null || !this.x;
    if (this.readout.hidden) return;
    const rows = [];
    for (const {name, slot, series, smooth} of this.lines) {
      const at = nearest(series.step, this.cursor), margin = 0.05 * (this.x.high - this.x.low);
      if (at < 0 || this.cursor < series.step[0] - margin || this.cursor > series.step.at(-1) + margin) continue;
      const value = (smooth ?? series.mean)[at], exact = series.mean[at];
      const text = value === null ? "not finite" : shortNumber(value, 5) + (smooth ? ` (${shortNumber(exact, 5)})` : "");
      rows.push(make("div", {}, make("span", {class: `swatch slot-${slot % 8}`}), `${name} ${text}`));
    }
    this.readout.replaceChildren(make("div", {class: "hint"}, `step ${this.cursor}`), ...rows);
    const x = this.across(this.cursor);
    this.svg.append(makeSvg("path", {class: "cursor", d: `M${x} ${top}V${this.size.height - bottom}`}));
    const onTheLeft = x > this.size.width / 2;
    this.readout.style.left = onTheLeft ? "" : `${x + 10}px`;
    this.readout.style.right = onTheLeft ? `${this.size.width - x + 10}px` : "";
  }

  // In words, for those who do not see it.
  summary(shown) {
    const parts = shown.map(({name, step, mean}) => {
      const range = rangeOf([mean]);
      if (!range) return `${name}: no values`;
      const last = mean.findLastIndex((value) => value !== null);
      return `${name}: ${shortNumber(mean[last], 4)} at step ${step[last]}, lowest ${shortNumber(range[0], 4)}, ` +
        `highest ${shortNumber(range[1], 4)}`;
    });
    return parts.join("; ") || "no values";
  }

  // Every step at which some line has a point, in the order of the first line that has any.
  moveCursor(by) {
    const steps = this.lines.find(({series}) => series.step.length > 0)?.series.step;
    if (!steps || !this.x) return;
    const first = firstAtLeast(steps, this.x.low), last = firstAtLeast(steps, this.x.high + 1) - 1;
    const from = this.cursor === null ? (by > 0 ? first - by : last - by) : nearest(steps, this.cursor);
    this.cursor = steps[Math.min(Math.max(from + by, first), last)] ?? null;
    this.drawCursor();
  }

  // Around the cursor, or the middle; factor below 1 goes nearer.
  scale(factor) {
    if (!this.x) return;
    const {low, high} = this.x;
    const centre = this.cursor ?? (low + high) / 2;
    const first = Math.round(centre - (centre - low) * factor), last = Math.round(centre + (high - centre) * factor);
    if (last - first >= 1) this.zoom([Math.max(0, first), last]);
  }

  stepAt(event) {
    const box = this.plot.getBoundingClientRect();
    const place = (event.clientX - box.left - left) / (box.width - left - right);
    return Math.round(this.x.value(Math.min(1, Math.max(0, place))));
  }

  // The range of steps at which two fingers, each a {x, step} since it came down, lie on their steps again.
  pinched([a, b]) {
    const place = (x) => (x - this.plot.getBoundingClientRect().left - left) / (this.size.width - left - right);
    const span = (b.step - a.step) / (place(b.x) - place(a.x));
    const first = Math.round(a.step - place(a.x) * span), last = Math.round(first + span);
    return last - first >= 1 && Number.isFinite(span) ? [Math.max(0, first), last] : this.range;
  }

  listen() {
    const fingers = new Map();  // by pointer
    let dragFrom = null, pinched = null;  // a step; the range that two fingers have chosen so far
    const shade = makeSvg("rect", {class: "selection", y: top});
    const select = (to) => {
      const [a, b] = [this.across(dragFrom), this.across(to)].sort((m, n) => m - n);
      for (const [name, value] of [["x", a], ["width", b - a], ["height", this.size.height - top - bottom]]) {
        shade.setAttribute(name, value);
      }
      this.svg.append(shade);
    };
    this.plot.addEventListener("pointerdown", (event) => {
      if (!this.x || event.button !== 0) return;
      this.plot.setPointerCapture(event.pointerId);
      if (event.pointerType === "mouse") dragFrom = this.stepAt(event);
      else fingers.set(event.pointerId, {x: event.clientX, step: this.stepAt(event)});
    });
    this.plot.addEventListener("pointermove", (event) => {
      if (!this.x) return;
      const finger = fingers.get(event.pointerId);
      if (finger) finger.x = event.clientX;
      if (fingers.size === 2) {
        pinched = this.pinched([...fingers.values()]);
        this.cursor = null;
        this.set(this.lines, pinched, this.log);  // the other charts follow at the end
        return;
      }
      this.cursor = this.stepAt(event);
      this.drawCursor();
      if (dragFrom !== null) select(this.cursor);
    });
    const release = (event) => {
      shade.remove();
      const from = dragFrom;
      dragFrom = null;
      fingers.delete(event.pointerId);
      if (pinched) {
        this.zoom(pinched);
        pinched = null;
        fingers.clear();
      } else if (from !== null && this.x && event.type === "pointerup") {
        const to = this.stepAt(event);
        if (Math.abs(this.across(to) - this.across(from)) > 5) this.zoom([Math.min(from, to), Math.max(from, to)]);
      }
    };
    this.plot.addEventListener("pointerup", release);
    this.plot.addEventListener("pointercancel", release);
    this.plot.addEventListener("pointerleave", () => this.hideCursor());
    this.plot.addEventListener("blur", () => this.hideCursor());
    this.plot.addEventListener("dblclick", () => this.zoom(null));
    const keys = {ArrowLeft: () => this.moveCursor(-1), ArrowRight: () => this.moveCursor(1),
                  PageUp: () => this.moveCursor(-20), PageDown: () => this.moveCursor(20),
                  "+": () => this.scale(0.5), "-": () => this.scale(2), "=": () => this.scale(0.5),
                  0: () => this.zoom(null), Escape: () => this.hideCursor()};
    this.plot.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || !keys[event.key]) return;
      event.preventDefault();
      keys[event.key]();
    });
  }

  hideCursor() {
    this.cursor = null;
    this.drawCursor();
  }
}
