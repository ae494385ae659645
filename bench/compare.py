#!/usr/bin/env python3
"""Training steps of Inkling beside those of PyTorch and llm.c, in one run.

    bench/compare.py --ink build/release/ink --python /path/to/python --llmc /path/to/llm.c/train_gpt2 --out-dir results

The sides take turns, round by round, since machines drift: figures of different runs cannot be compared. Every run's
first steps are left out. --python may be given several times, one PyTorch version each; without PyTorch or llm.c only
Inkling's figures are printed. Prints the table at the end; writes results.json, table.md and chart.svg to --out-dir after every
round.

Needs Python 3.7 and its standard library; the interpreters named by --python need `torch`.
"""

import argparse
import datetime
import json
import math
import os
import pty
import re
import shlex
import signal
import statistics
import subprocess
import sys
import tempfile
import time

OURS = "Inkling"

# What holds each library to an instruction set. llm.c is compiled for one.
ISA_ENVIRONMENT = {
    "avx2": {
        "ATEN_CPU_CAPABILITY": "avx2",
        "ONEDNN_MAX_CPU_ISA": "AVX2",
        "DNNL_MAX_CPU_ISA": "AVX2",
        "MKL_ENABLE_INSTRUCTIONS": "AVX2",
        "OPENBLAS_CORETYPE": "Haswell",
    },
}

# glibc gives large blocks back to the system and faults them in again at every step, unless told to keep them: PyTorch at
# its best. Each is an int there; older versions ignore a threshold as high as this, but not the last one.
TORCH_ENVIRONMENT = {
    "MALLOC_TRIM_THRESHOLD_": str(2**31 - 1),
    "MALLOC_MMAP_THRESHOLD_": str(2**31 - 1),
    "MALLOC_MMAP_MAX_": "0",
}

# ---------------------------------------------------------------------------------------------------------------------
# The PyTorch side: GPT-2 (Radford et al. 2019) in plain torch, and what a training step of it takes. Runs in a process
# of its own, under the interpreter of --python.


def torch_worker(settings):
    import torch
    import torch.nn as nn
    import torch.nn.functional as F

    torch.set_num_threads(settings["threads"])
    torch.set_num_interop_threads(1)
    torch.manual_seed(42)
    config = settings["config"]
    channels, heads, layers = config["channels"], config["heads"], config["layers"]
    vocab = (config["vocab"] + 63) // 64 * 64  # as nanoGPT does: faster than 50257
    fused_attention = hasattr(F, "scaled_dot_product_attention")

    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.ln_1 = nn.LayerNorm(channels)
            self.qkv = nn.Linear(channels, 3 * channels)
            self.att_proj = nn.Linear(channels, channels)
            self.ln_2 = nn.LayerNorm(channels)
            self.fc = nn.Linear(channels, 4 * channels)
            self.fc_proj = nn.Linear(4 * channels, channels)

        def forward(self, x, mask):
            batch, length, _ = x.shape
            q, k, v = (
                part.view(batch, length, heads, channels // heads).transpose(1, 2)
                for part in self.qkv(self.ln_1(x)).split(channels, dim=2)
            )
            if fused_attention:
                y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            else:
                scores = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(channels // heads))
                y = scores.masked_fill(mask, float("-inf")).softmax(dim=-1) @ v
            x = x + self.att_proj(y.transpose(1, 2).reshape(batch, length, channels))
            return x + self.fc_proj(F.gelu(self.fc(self.ln_2(x)), approximate="tanh"))

    class Gpt2(nn.Module):
        def __init__(self):
            super().__init__()
            self.wte = nn.Embedding(vocab, channels)
            self.wpe = nn.Embedding(config["context"], channels)
            self.blocks = nn.ModuleList(Block() for _ in range(layers))
            self.ln_f = nn.LayerNorm(channels)
            self.head = nn.Linear(channels, vocab, bias=False)
            self.head.weight = self.wte.weight
            for parameter in self.parameters():
                if parameter.dim() == 2:
                    nn.init.normal_(parameter, std=0.02)

        def forward(self, tokens, targets, mask):
            x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
            for block in self.blocks:
                x = block(x, mask)
            logits = self.head(self.ln_f(x))
            return F.cross_entropy(logits.view(-1, vocab), targets.view(-1))

    model = Gpt2()
    options = {"lr": 1e-4, "betas": (0.9, 0.95), "weight_decay": 0.1}
    try:
        optimizer, fused_optimizer = torch.optim.AdamW(model.parameters(), fused=True, **options), True
    except (TypeError, RuntimeError):  # versions that lack it, or have it for GPUs only
        optimizer, fused_optimizer = torch.optim.AdamW(model.parameters(), **options), False
    step_model = torch.compile(model) if settings["compile"] else model

    shape = (settings["batch"], settings["seq_len"])
    mask = torch.ones(shape[1], shape[1], dtype=torch.bool).triu(1)
    seconds = []
    for _ in range(settings["warmup"] + settings["steps"]):
        start = time.perf_counter()
        tokens, targets = (torch.randint(config["vocab"], shape) for _ in range(2))
        loss = step_model(tokens, targets, mask)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        value = loss.item()
        seconds.append(time.perf_counter() - start)
        if not math.isfinite(value):
            raise SystemExit("the loss is %s" % value)
    details = ["fused attention" if fused_attention else "masked softmax"]
    details.append("fused AdamW" if fused_optimizer else "AdamW")
    if settings["compile"]:
        details.append("torch.compile")
    print(json.dumps({"step_seconds": seconds[settings["warmup"] :], "version": torch.__version__, "details": details}))


# ---------------------------------------------------------------------------------------------------------------------
# Running one side once. Each returns {"step_seconds": [...], "peak_bytes": n, ...}.


class SideError(Exception):
    """A side that did not run, in one line."""


def child_peak_bytes(usage):
    return usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def words_of(command):
    """A command as words. Raises SideError where there are none."""
    try:
        words = shlex.split(command)
    except ValueError as error:
        raise SideError("%s: %s" % (command, error))
    if not words:
        raise SideError("an empty command")
    return words


def exit_code(status):
    """os.waitstatus_to_exitcode, which Python has from 3.9 on: a signal is negative."""
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


def ending(code):
    """How a process ended, in words."""
    if code >= 0:
        return "exit status %d" % code
    try:
        return "ended by %s" % signal.Signals(-code).name
    except ValueError:
        return "ended by signal %d" % -code


def last_line(text):
    return (text.strip().splitlines() or [""])[-1]


def run_process(command, environment, text_input=None):
    """Runs to the end. Returns (standard output, last line of complaint, peak bytes); raises SideError with that line."""
    utf8 = {"encoding": "utf-8", "errors": "replace"}
    with tempfile.TemporaryFile("w+", **utf8) as out, tempfile.TemporaryFile("w+", **utf8) as err:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=out, stderr=err, env=environment, **utf8
            )
        except (OSError, ValueError) as error:
            raise SideError("%s: %s" % (command[0], getattr(error, "strerror", None) or error))
        for act in (lambda: process.stdin.write(text_input or ""), process.stdin.close):
            try:
                act()
            except BrokenPipeError:  # it ended before it read; its status tells
                pass
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = exit_code(status)  # reaped here
        out.seek(0)
        err.seek(0)
        complaint = last_line(err.read())
        if process.returncode != 0:
            raise SideError(": ".join(filter(None, [command[0], ending(process.returncode), complaint])))
        return out.read(), complaint, child_peak_bytes(usage)


def read_output(command, text, complaint, read):
    """read(text), which is to parse what a side printed."""
    try:
        return read(text)
    except (ValueError, KeyError, IndexError, TypeError):
        what = "what it printed is no result" if text.strip() else "it printed nothing"
        raise SideError(": ".join(filter(None, [command[0], what, complaint])))


def run_ink(options, environment, device, model, batch, seq_len, steps):
    command = words_of(options.ink) + ["bench", "train", "--json", "-", "--device", device, "--model", model]
    command += ["--batch", str(batch), "--seq-len", str(seq_len), "--threads", str(options.threads)]
    command += ["--steps", str(steps)] + (["--isa", options.isa] if options.isa else [])
    text, complaint, _ = run_process(command, environment)

    def read(text):
        report = json.loads(text)
        return {
            "step_seconds": [float(second) for second in report["train"]["step_seconds"]],
            "peak_bytes": report["train"]["peak_bytes"],  # when the steps were done: what follows measures the machine
            "floor_s": report["train"]["floor_s"],
            "version": report["machine"]["version"],
            "details": [report["machine"]["devices"][0]["description"]],
            "report": report,
        }

    return read_output(command, text, complaint, read)


def run_torch(options, environment, python, compiled, config):
    settings = {
        "config": config,
        "batch": options.batch,
        "seq_len": options.seq_len,
        "threads": options.threads,
        "warmup": options.warmup,
        "steps": options.steps,
        "compile": compiled,
    }
    command = words_of(python) + [os.path.abspath(__file__), "--torch-worker"]
    text, complaint, peak = run_process(command, dict(environment, **TORCH_ENVIRONMENT), json.dumps(settings))

    def read(text):
        result = json.loads(last_line(text))
        return {
            "step_seconds": [float(second) for second in result["step_seconds"]],
            "version": result["version"],
            "details": result["details"],
            "peak_bytes": peak,
        }

    return read_output(command, text, complaint, read)


LLMC_STEP = re.compile(r"^step (\d+): train loss (\S+) \(took ([0-9.]+) ms\)")


def parse_llmc_steps(lines):
    """Seconds of the steps that llm.c's CPU program printed."""
    return [float(match.group(3)) / 1e3 for match in map(LLMC_STEP.match, lines) if match]


def run_llmc(options, environment):
    """llm.c's program runs 40 steps, whatever one asks: it is ended after those that count."""
    path = os.path.abspath(options.llmc)
    terminal, side = pty.openpty()  # on a pipe it would print everything at its end
    try:
        process = subprocess.Popen(
            [path], stdin=subprocess.DEVNULL, stdout=side, stderr=side, env=environment, cwd=os.path.dirname(path)
        )
    except OSError as error:
        raise SideError("%s: %s" % (path, error.strerror))
    finally:
        os.close(side)
    wanted, text, ended = options.warmup + options.steps, "", False
    while len(parse_llmc_steps(text.splitlines())) < wanted and not ended:
        try:
            data = os.read(terminal, 65536)
        except OSError:  # Linux's way to say that the other side is closed
            data = b""
        ended = not data
        text += data.decode("utf-8", "replace").replace("\r\n", "\n")
    if not ended:
        process.send_signal(signal.SIGTERM)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = exit_code(status)
    os.close(terminal)
    seconds = parse_llmc_steps(text.splitlines())
    if len(seconds) < wanted:
        steps = "only %d of %d steps" % (len(seconds), wanted)
        raise SideError(": ".join([path, ending(process.returncode), steps, last_line(text) or "it printed nothing"]))
    return {"step_seconds": seconds[options.warmup : wanted], "peak_bytes": child_peak_bytes(usage)}


# ---------------------------------------------------------------------------------------------------------------------
# Figures.


def quantile(values, q):
    """Interpolated between neighbours, as numpy does."""
    values = sorted(values)
    position = q * (len(values) - 1)
    below = math.floor(position)
    above = min(below + 1, len(values) - 1)
    return values[below] + (position - below) * (values[above] - values[below])


def spread(values):
    return {
        "median_s": quantile(values, 0.5),
        "q1_s": quantile(values, 0.25),
        "q3_s": quantile(values, 0.75),
        "best_s": min(values),
        "runs": len(values),
    }


def summarize(name, runs, base_runs, tokens):
    """One side's runs, one a round, beside those of the side that ratios are taken to.

    A ratio is taken within each round, where both sides saw the same machine, and its median is what counts.
    """
    medians = [statistics.median(run["step_seconds"]) for run in runs]
    base = [statistics.median(run["step_seconds"]) for run in base_runs]
    ratios = [mine / other for mine, other in zip(medians, base)]
    result = spread([second for run in runs for second in run["step_seconds"]])
    result.update(
        name=name,
        version=runs[0].get("version", ""),
        details=runs[0].get("details", []),
        tokens_per_s=tokens / result["median_s"],
        peak_bytes=max(run["peak_bytes"] for run in runs),
        ratio=quantile(ratios, 0.5),
        ratio_low=min(ratios),
        ratio_high=max(ratios),
        rounds=len(runs),
    )
    if all(run.get("floor_s", 0) > 0 for run in runs):
        result["floor_s"] = quantile([run["floor_s"] for run in runs], 0.5)
        result["floor_shares"] = [run["floor_s"] / median for run, median in zip(runs, medians)]
    return result


def human_seconds(seconds):
    for unit, scale in (("s", 1), ("ms", 1e-3), ("µs", 1e-6)):
        if seconds >= scale or unit == "µs":
            value = seconds / scale
            digits = 2 if value < 9.995 else 1 if value < 99.95 else 0
            return "%.*f %s" % (digits, value, unit)


def human_bytes(count):
    for unit, scale in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= scale or unit == "MiB":
            return "%.2f %s" % (count / scale, unit)


def markdown_table(header, rows):
    """Columns line up as plain text; all but the first lie to the right."""
    widths = [max(3, *(len(row[c]) for row in [header] + rows)) for c in range(len(header))]

    def line(cells):
        padded = [cell.ljust(w) if c == 0 else cell.rjust(w) for c, (cell, w) in enumerate(zip(cells, widths))]
        return "| " + " | ".join(padded) + " |\n"

    rule = "|" + "|".join("-" * (w + 2) if c == 0 else "-" * (w + 1) + ":" for c, w in enumerate(widths)) + "|\n"
    return line(header) + rule + "".join(line(row) for row in rows)


def table_of(sides, base_name):
    rows = []
    for side in sides:
        label = side["name"] + (" " + side["version"] if side["version"] else "")
        ratio = "%.2f" % side["ratio"]
        if side["runs"] and side["ratio_low"] != side["ratio_high"]:
            ratio += " (%.2f–%.2f)" % (side["ratio_low"], side["ratio_high"])
        rows.append(
            [
                label,
                human_seconds(side["median_s"]),
                "%s–%s" % (human_seconds(side["q1_s"]), human_seconds(side["q3_s"])),
                "%.0f" % side["tokens_per_s"],
                human_bytes(side["peak_bytes"]),
                ratio,
            ]
        )
    header = ["program", "step, median", "quartiles", "tokens/s", "peak memory", "time over " + base_name]
    return markdown_table(header, rows)


# ---------------------------------------------------------------------------------------------------------------------
# The chart.

SVG_STYLE = """
  text { font: 14px system-ui, sans-serif; fill: #24292f; }
  .title { font-size: 16px; font-weight: 600; }
  .small { font-size: 12px; fill: #57606a; }
  .grid { stroke: #d0d7de; stroke-width: 1; }
  .bar { fill: #8c959f; }
  .ours { fill: #0969da; }
  .whisker { stroke: #24292f; stroke-width: 1.5; }
  .back { fill: #ffffff; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    .grid { stroke: #3d444d; }
    .bar { fill: #656c76; }
    .ours { fill: #4493f8; }
    .whisker { stroke: #e6edf3; }
    .back { fill: #0d1117; }
  }
"""


def nice_step(largest, ticks=5):
    """A round distance between ticks: 1, 2 or 5 times a power of ten."""
    rough = largest / ticks
    power = 10.0 ** math.floor(math.log10(rough))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999)


def escape(text):
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def chart_of(sides, title, subtitles):
    """Horizontal bars of the median step, with the quartiles as whiskers, as an SVG document."""
    left, width, row = 230, 420, 38
    top = 57 + 17 * len(subtitles)
    largest = max(side["q3_s"] for side in sides)
    tick = nice_step(largest)
    end = tick * math.ceil(largest / tick - 1e-9)
    bottom = top + row * len(sides)
    x = lambda seconds: left + width * seconds / end
    parts = [
        '<svg xmlns="http://www.w3.org/2000/svg" width="760" height="%d" viewBox="0 0 760 %d" role="img" '
        'aria-label="%s">' % (bottom + 56, bottom + 56, escape(title)),
        "<style>%s</style>" % SVG_STYLE,
        '<rect class="back" width="100%" height="100%"/>',
        '<text class="title" x="20" y="28">%s</text>' % escape(title),
    ]
    for i, line in enumerate(subtitles):
        parts.append('<text class="small" x="20" y="%d">%s</text>' % (48 + 17 * i, escape(line)))
    for i in range(int(round(end / tick)) + 1):
        at = x(i * tick)
        parts.append('<line class="grid" x1="%.1f" y1="%d" x2="%.1f" y2="%d"/>' % (at, top - 8, at, bottom))
        parts.append('<text class="small" x="%.1f" y="%d" text-anchor="middle">%g</text>' % (at, bottom + 18, i * tick))
    for i, side in enumerate(sides):
        y = top + row * i
        label = side["name"] + (" " + side["version"].split("+")[0] if side["version"] else "")
        kind = "ours" if side["name"].startswith(OURS) else "bar"
        middle = y + row / 2 - 4
        parts.append('<text x="%d" y="%.1f" text-anchor="end">%s</text>' % (left - 10, middle + 5, escape(label)))
        parts.append(
            '<rect class="%s" x="%d" y="%d" width="%.1f" height="%d"/>'
            % (kind, left, y, x(side["median_s"]) - left, row - 8)
        )
        parts.append(
            '<line class="whisker" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>'
            % (x(side["q1_s"]), middle, x(side["q3_s"]), middle)
        )
        parts.append(
            '<text x="%.1f" y="%.1f">%s</text>'
            % (x(side["q3_s"]) + 8, middle + 5, escape(human_seconds(side["median_s"])))
        )
    parts.append(
        '<text class="small" x="%d" y="%d" text-anchor="middle">seconds a training step: less is better</text>'
        % (left + width / 2, bottom + 42)
    )
    return "\n".join(parts + ["</svg>"]) + "\n"


# ---------------------------------------------------------------------------------------------------------------------
# The comparison.


def environment_of(options):
    environment = dict(os.environ)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        environment[name] = str(options.threads)
    environment.update(ISA_ENVIRONMENT[options.isa] if options.isa else {})
    return environment


def run_rounds(sides, rounds, note, done=lambda runs: None):
    """Runs every side once a round. sides: [(name, function)]; the first one starts in every round."""
    runs = {name: [] for name, _ in sides}
    for number in range(rounds):
        order = sides[:1] + (sides[1:] if number % 2 == 0 else sides[:0:-1])
        for name, run in order:
            note("round %d of %d: %s" % (number + 1, rounds, name))
            try:
                runs[name].append(run())
            except SideError as error:
                raise SideError("%s: %s" % (name, error))
        done(runs)


def compare_steps(options, environment, note, done):
    """Our step beside everybody else's. After every round, done(figures of the sides, our first report)."""
    seen = {}

    def ours():
        result = run_ink(options, environment, options.device, options.model, options.batch, options.seq_len, options.steps)
        seen.setdefault("report", result["report"])
        return result

    sides = [(OURS, ours)]
    for number, python in enumerate(options.python):
        variants = [False, True] if options.compile else [False]
        for compiled in variants:
            name = "PyTorch" + (" #%d" % (number + 1) if len(options.python) > 1 else "")
            name += " compiled" if compiled else ""
            sides.append(
                (
                    name,
                    lambda python=python, compiled=compiled: run_torch(
                        options, environment, python, compiled, seen["report"]["train"]["config"]
                    ),
                )
            )
    if options.llmc:
        sides.append(("llm.c", lambda: run_llmc(options, environment)))
    tokens = options.batch * options.seq_len

    def after_round(runs):
        figures = [summarize(name, runs[name], runs[OURS], tokens) for name, _ in sides]
        for side in figures:  # the version tells several interpreters apart
            side["name"] = re.sub(r" #\d+", "", side["name"])
        done(figures, seen["report"])

    run_rounds(sides, options.rounds, note, after_round)


def compare_naive(options, environment, note, done):
    """The plain loops of --device ref beside the tuned path, on a model that they end with."""
    few = min(options.steps, 5)  # two seconds each
    sides = [
        (OURS + ", " + device, lambda device=device, n=n: run_ink(options, environment, device, "char", 12, 64, n))
        for device, n in ((options.device, options.steps), ("ref", few))
    ]
    base = sides[0][0]
    after_round = lambda runs: done([summarize(name, runs[name], runs[base], 12 * 64) for name, _ in sides])
    run_rounds(sides, options.rounds, note, after_round)


def machine_lines(report, options):
    machine = report["machine"]
    hardware = "%s, %d of %d threads, %s; %s" % (
        machine["cpu"],
        machine["threads"],
        machine["hardware_threads"],
        human_bytes(machine["memory_bytes"]),
        datetime.date.today().isoformat(),
    )
    held = "; all sides held to %s" % options.isa if options.isa else ""
    return [hardware, "%s: %s%s" % (OURS, machine["devices"][0]["description"], held)]


def markdown_of(options, report, steps, naive, command):
    train = report["train"]
    text = "%s.\n\n" % ". ".join(machine_lines(report, options))
    text += "`%s`, B=%d T=%d, fp32: %d round%s of %d steps a program, after %d that do not count.\n\n" % (
        options.model,
        options.batch,
        options.seq_len,
        steps[0]["rounds"],
        "" if steps[0]["rounds"] == 1 else "s",
        options.steps,
        options.warmup,
    )
    text += table_of(steps, OURS) + "\n"
    shares = steps[0].get("floor_shares")
    if shares:
        text += "Inkling's floor is %s (in the first round %s of products, %s of optimizer). " % (
            human_seconds(steps[0]["floor_s"]),
            human_seconds(train["floor_compute_s"]),
            human_seconds(train["floor_optimizer_s"]),
        )
        text += "The floor over the step, both of the same round: %.0f%%" % (100 * quantile(shares, 0.5))
        text += " (%.0f–%.0f%%).\n\n" % (100 * min(shares), 100 * max(shares)) if len(shares) > 1 else ".\n\n"
    for side in steps:
        if side["details"]:
            text += "- %s %s: %s\n" % (side["name"], side["version"], ", ".join(side["details"]))
    if options.llmc and options.isa:
        text += "- llm.c runs the instructions that it was compiled for\n"
    if naive:
        text += "\nThe character model (`char`, B=12 T=64), tuned and in plain loops:\n\n" + table_of(naive, naive[0]["name"])
    return text + "\nMeasured with `%s`.\n" % command


def command_of(arguments):
    """The command line for people: where things lie on this machine says nothing on another."""
    shown = [os.path.basename(word) if os.path.isabs(word) else word for word in arguments]
    return " ".join(["bench/compare.py"] + [shlex.quote(word) for word in shown])


def parse_arguments(arguments):
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("--ink", default="build/release/ink", help="the program")
    add("--device", default="cpu", help="its device")
    add("--python", action="append", default=[], help="an interpreter with torch; may be repeated")
    add("--compile", action="store_true", help="PyTorch through torch.compile as well")
    add("--llmc", default="", help="llm.c's built train_gpt2, in its own folder with its files")
    add("--llmc-shape", default="4x64", help="B and T compiled into it (default 4x64)")
    add("--naive", action="store_true", help="the plain loops too, on the character model")
    add("--model", default="gpt2")
    add("--batch", type=int, default=4)
    add("--seq-len", type=int, default=64)
    add("--threads", type=int, default=os.cpu_count())
    add("--isa", default="", help="hold every side to these instructions: " + ", ".join(ISA_ENVIRONMENT))
    add("--rounds", type=int, default=3)
    add("--steps", type=int, default=5, help="that count, in every run")
    add("--out-dir", default="", help="where results.json, table.md and chart.svg go")
    options = parser.parse_args(arguments)
    options.warmup = 2  # as ink bench train
    if options.isa and options.isa not in ISA_ENVIRONMENT:
        parser.error("--isa %s: known are %s" % (options.isa, ", ".join(ISA_ENVIRONMENT)))
    for name in ("batch", "seq_len", "threads", "rounds", "steps"):
        if getattr(options, name) < 1:
            parser.error("--%s must be 1 or above" % name.replace("_", "-"))
    if options.llmc and options.llmc_shape != "%dx%d" % (options.batch, options.seq_len):
        parser.error(
            "llm.c has its shape compiled in, %s, which is not --batch %d --seq-len %d; "
            "give --llmc-shape if it was built with another" % (options.llmc_shape, options.batch, options.seq_len)
        )
    return options


class Results:
    """What is known so far, written to --out-dir after every round."""

    def __init__(self, options, command):
        self.options, self.command = options, command
        self.steps, self.naive, self.report = [], [], None
        if options.out_dir:  # before anything is measured
            os.makedirs(options.out_dir, exist_ok=True)
            with tempfile.TemporaryFile(dir=options.out_dir):
                pass

    def set_steps(self, steps, report):
        self.steps, self.report = steps, report
        self.write()

    def set_naive(self, naive):
        self.naive = naive
        self.write()

    def text(self):
        return markdown_of(self.options, self.report, self.steps, self.naive, self.command)

    def write(self):
        options = self.options
        if not options.out_dir:
            return
        title = "A training step of %s, B=%d T=%d" % (options.model, options.batch, options.seq_len)
        results = {"command": self.command, "steps": self.steps, "naive": self.naive, "inkling": self.report}
        for name, content in (
            ("results.json", json.dumps(results, indent=2) + "\n"),
            ("table.md", self.text()),
            ("chart.svg", chart_of(self.steps, title, machine_lines(self.report, options))),
        ):
            with open(os.path.join(options.out_dir, name), "w", encoding="utf-8") as file:
                file.write(content)


def main(arguments):
    if arguments == ["--torch-worker"]:
        torch_worker(json.load(sys.stdin))
        return 0
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(encoding="utf-8")
    options = parse_arguments(arguments)
    environment = environment_of(options)
    note = lambda line: print(line, file=sys.stderr, flush=True)
    try:
        results = Results(options, command_of(arguments))
        compare_steps(options, environment, note, results.set_steps)
        if options.naive:
            compare_naive(options, environment, note, results.set_naive)
    except SideError as error:
        print("compare: %s" % error, file=sys.stderr)
        return 1
    except OSError as error:
        print("compare: %s: %s" % (error.filename or "--out-dir", error.strerror), file=sys.stderr)
        return 1
    print(results.text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
