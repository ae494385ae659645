#!/usr/bin/env python3
"""Inference of Inkling beside llama.cpp's, on the same GGUF files, in one run.

    bench/compare_infer.py --ink build/release/ink --llama-bench /path/to/llama-bench --model gpt2-124m.gguf --out-dir results

The model is first written once for every type with `ink quantize`. Then the two programs take turns, round by round,
since machines drift: figures of different runs cannot be compared. Prints the table at the end; writes results.json and
table.md to --out-dir after every round. Without --llama-bench only Inkling's figures are printed.

Needs Python 3.7 and its standard library.
"""

import argparse
import datetime
import json
import os
import statistics
import subprocess
import sys


def run(command):
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
    except OSError as error:
        raise SystemExit("compare_infer: cannot run %s: %s" % (command[0], error))
    if done.returncode != 0:
        raise SystemExit("compare_infer: %s failed:\n%s" % (" ".join(command), done.stderr.strip()))
    return done.stdout


def ink_round(args, model):
    """Tokens a second of a prompt and of decoding, the share of the memory's speed, seconds to the first token."""
    words = ["--model", model, "--types", "own", "--rounds", "1", "--json", "-", "--threads", str(args.threads)]
    words += ["--prompt", str(args.prompt), "--decode", str(args.decode)]
    report = json.loads(run([args.ink, "bench", "infer"] + words))
    figures = report["infer"]["types"][0]
    return {
        "prompt": figures["prompt_tokens_per_s"],
        "decode": figures["decode_tokens_per_s"],
        "memory_share": figures["share_of_memory_speed"] or 0,
        "first_token_s": figures["first_token_s"],
        "machine": "%s, %d threads" % (report["machine"]["cpu"], report["machine"]["threads"]),
        "version": report["machine"]["version"],
    }


def llama_round(args, model):
    """The same of llama-bench, whose samples are a list for each test."""
    words = ["-m", model, "-t", str(args.threads), "-p", str(args.prompt), "-n", str(args.decode), "-r", "1"]
    tests = json.loads(run([args.llama_bench] + words + ["-o", "json"]))
    speed = {"prompt" if test["n_prompt"] > 0 else "decode": test["avg_ts"] for test in tests}
    speed["build"] = "%s (%s)" % (tests[0].get("build_number", "?"), tests[0].get("build_commit", "?"))
    return speed


def median(rounds, key):
    values = [figures[key] for figures in rounds if key in figures]
    return statistics.median(values) if values else None


def table(results, args):
    rounds = next(iter(results.values()))
    ours, theirs = rounds["ink"][0], (rounds["llama"] or [{}])[0]
    lines = [
        "%s; %s. Inkling %s%s; %d rounds, medians."
        % (
            ours["machine"],
            datetime.date.today().isoformat(),
            ours["version"],
            ", llama.cpp build %s" % theirs["build"] if theirs else "",
            len(rounds["ink"]),
        ),
        "",
    ]
    lines += ["| weights | test | Inkling, tokens/s | llama.cpp, tokens/s | ratio | of memory's speed | first token |"]
    lines.append("|---|---|---:|---:|---:|---:|---:|")
    for kind, sides in results.items():
        for test in ("decode", "prompt"):
            ours, theirs = median(sides["ink"], test), median(sides["llama"], test)
            decode = test == "decode"
            ratios = [a[test] / b[test] for a, b in zip(sides["ink"], sides["llama"])]
            spread = " (%.2f–%.2f)" % (min(ratios), max(ratios)) if len(ratios) > 1 else ""
            lines.append(
                "| %s | %s | %.1f | %s | %s | %s | %s |"
                % (
                    kind,
                    "decode %d" % args.decode if decode else "prompt of %d" % args.prompt,
                    ours,
                    "%.1f" % theirs if theirs else "",
                    "%.2fx%s" % (ours / theirs, spread) if theirs else "",
                    "%.0f%%" % (100 * median(sides["ink"], "memory_share")) if decode else "",
                    "%.2f s" % median(sides["ink"], "first_token_s") if decode else "",
                )
            )
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ink", default="build/release/ink", help="the program")
    parser.add_argument("--llama-bench", help="llama.cpp's llama-bench")
    parser.add_argument("--model", required=True, help="the model whose weights all files hold; f32 is best")
    parser.add_argument("--types", default="f32,f16,q8_0,q4_0", help="comma-separated (default: %(default)s)")
    parser.add_argument("--prompt", type=int, default=256, help="tokens (default: %(default)s)")
    parser.add_argument("--decode", type=int, default=64, help="tokens (default: %(default)s)")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="(default: all)")
    parser.add_argument("--rounds", type=int, default=5, help="(default: %(default)s)")
    parser.add_argument("--out-dir", required=True, help="for the models, results.json and table.md")
    args = parser.parse_args()

    os.makedirs(args.out_dir, exist_ok=True)
    types = args.types.split(",")
    models = {kind: os.path.join(args.out_dir, kind + ".gguf") for kind in types}
    for kind, path in models.items():
        if not os.path.exists(path):
            run([args.ink, "quantize", args.model, path, "--type", kind])
    results = {kind: {"ink": [], "llama": []} for kind in types}
    for number in range(1, args.rounds + 1):
        for kind in types:
            print("round %d of %d: %s" % (number, args.rounds, kind), file=sys.stderr)
            results[kind]["ink"].append(ink_round(args, models[kind]))
            if args.llama_bench:
                results[kind]["llama"].append(llama_round(args, models[kind]))
        for name, text in (("results.json", json.dumps(results, indent=2) + "\n"), ("table.md", table(results, args))):
            with open(os.path.join(args.out_dir, name), "w", encoding="utf-8") as file:
                file.write(text)
    print(table(results, args), end="")


if __name__ == "__main__":
    main()
