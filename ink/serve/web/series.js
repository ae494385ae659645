// The numbers behind a chart: points as the server tells them, averages, ranges and ticks. No elements here.
//
// A series is {size, step: [], mean: [], low: [], high: []}: buckets of `size` points each, low and high only where
// size is above 1, null for what was not finite.

// Puts what an answer tells in the place of what was told from its first step on.
export function merged(old, fresh) {
  if (!old) return fresh;
  if (fresh.step.length === 0) return old;
  const keep = firstAtLeast(old.step, fresh.step[0]);
  const joined = {size: fresh.size, step: old.step.slice(0, keep).concat(fresh.step)};
  for (const name of ["mean", "low", "high"]) {
    const before = old[name] ?? old.mean, after = fresh[name] ?? fresh.mean;
    if (old[name] || fresh[name]) joined[name] = before.slice(0, keep).concat(after);
  }
  return joined;
}

// The index of the first value of a rising list that is at least `value`.
export function firstAtLeast(list, value) {
  let low = 0, high = list.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (list[middle] < value) low = middle + 1;
    else high = middle;
  }
  return low;
}

// The index of the value nearest to `value` in a rising list; -1 in an empty one.
export function nearest(list, value) {
  const at = firstAtLeast(list, value);
  if (at === 0 || at === list.length) return Math.min(at, list.length - 1);
  return value - list[at - 1] <= list[at] - value ? at - 1 : at;
}

// Exponential moving average whose start is not pulled to zero; a bucket counts as many times as it has points.
export function smoothed(series, weight) {
  const step = weight ** series.size;
  let sum = 0, weights = 0;
  return series.mean.map((value) => {
    if (value === null) return null;
    sum = step * sum + (1 - step) * value;
    weights = step * weights + (1 - step);
    return sum / weights;
  });
}

// [lowest, highest] of a list's numbers that `counts` accepts; null if there are none.
export function rangeOf(lists, counts = () => true) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) {
    for (const value of list) {
      if (value === null || !counts(value)) continue;
      if (value < low) low = value;
      if (value > high) high = value;
    }
  }
  return low <= high ? [low, high] : null;
}

// {low, high, log, ticks, place(value)}: place is 0 at low, 1 at high, NaN for what the axis cannot show.
export function makeAxis(low, high, log, count) {
  const axis = {low, high, log: log && low > 0, ticks: []};
  if (!(high - low > 1e-9 * Math.max(Math.abs(low), Math.abs(high)))) {
    const margin = low === 0 ? 1 : 0.1 * Math.abs(low);
    axis.low -= margin;
    axis.high += margin;
  }
  if (axis.log) axis.ticks = logTicks(axis, count);
  if (axis.ticks.length < 2) axis.ticks = linearTicks(axis, count);
  const span = axis.log ? Math.log(axis.high / axis.low) : axis.high - axis.low;
  axis.place = axis.log ? (value) => (value > 0 ? Math.log(value / axis.low) / span : NaN)
                        : (value) => (value - axis.low) / span;
  axis.value = (place) => axis.log ? axis.low * Math.exp(place * span) : axis.low + place * span;
  return axis;
}

// About count ticks at 1, 2 or 5 times a power of ten.
function linearTicks(axis, count) {
  const least = (axis.high - axis.low) / count;
  const power = 10 ** Math.floor(Math.log10(least));
  const step = power * ([1, 2, 5, 10].find((factor) => factor * power >= least * (1 - 1e-9)) ?? 10);
  const ticks = [];
  for (let i = Math.ceil(axis.low / step - 1e-9); i <= Math.floor(axis.high / step + 1e-9); ++i) ticks.push(i * step);
  return ticks;
}

function logTicks(axis, count) {
  const first = Math.floor(Math.log10(axis.low)), last = Math.ceil(Math.log10(axis.high));
  const factors = last - first <= count / 2 ? [1, 2, 5] : [1];
  const ticks = [];
  for (let exponent = first; exponent <= last; exponent += Math.ceil((last - first) / count)) {
    for (const factor of factors) {
      const tick = factor * 10 ** exponent;
      if (tick >= axis.low * (1 - 1e-9) && tick <= axis.high * (1 + 1e-9)) ticks.push(tick);
    }
  }
  return ticks;
}

// "0.0003", "1e-5", "12k", "1.5M".
export function tickText(value) {
  const size = Math.abs(value);
  if (size >= 1e9) return shortNumber(value / 1e9, 6) + "B";
  if (size >= 1e6) return shortNumber(value / 1e6, 6) + "M";
  if (size >= 1e4) return shortNumber(value / 1e3, 6) + "k";
  return shortNumber(value, 6);
}

export function shortNumber(value, digits) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-4 || size >= 1e9)) return value.toExponential(digits - 1).replace(/\.?0+e/, "e");
  return String(Number(value.toPrecision(digits)));
}
