"""What the tests with other programs' readers share: running the programs, and skipping where a package is missing."""

import importlib
import os
import subprocess
import sys

SKIPPED = 77


def require(*names):
    """The modules, or the end of the test as skipped."""
    modules = []
    for name in names:
        try:
            modules.append(importlib.import_module(name))
        except Exception as error:  # packages that do not fit each other fail in many ways
            print(f"skipped: {sys.executable} cannot import {name}: {error}")
            sys.exit(SKIPPED)
    return modules


def ink(*words):
    """Runs ink and returns what it printed."""
    done = subprocess.run([os.environ["INK"], *map(str, words)], stdout=subprocess.PIPE, text=True)
    assert done.returncode == 0, f"ink {' '.join(map(str, words))}: exit status {done.returncode}"
    return done.stdout


def print_logits(model, sequences, vocab):
    """The logits (tokens, vocab) of each sequence of ids, from our plain loops."""
    import numpy

    text = "".join(" ".join(map(str, ids)) + "\n" for ids in sequences)
    done = subprocess.run([os.environ["PRINT_LOGITS"], str(model)], input=text.encode(), stdout=subprocess.PIPE)
    assert done.returncode == 0, f"print_logits {model}: exit status {done.returncode}"
    flat = numpy.frombuffer(done.stdout, dtype=numpy.float32).reshape(-1, vocab)
    assert len(flat) == sum(map(len, sequences))
    result = []
    for ids in sequences:
        result.append(flat[: len(ids)])
        flat = flat[len(ids) :]
    return result


TEXT = "It was the best of times, it was the worst of times;\n\tin 1859 we'd 42 caf\u00e9s \u2014 na\u00efve  ones.\n"


def train(folder, *options):
    """A small model of TEXT after some steps: the newest checkpoint."""
    data = folder / "text.txt"
    data.write_text(TEXT * 40, encoding="utf-8")
    out = folder / "run"
    ink("train", "--data", data, "--out", out, "--layers", 2, "--heads", 2, "--channels", 32, "--context", 32,
        "--batch", 2, "--steps", 5, "--sample-every", 0, *options)
    return max(out.glob("step_*"))
