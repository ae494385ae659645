"""Tests of compare.py without PyTorch or llm.c: programs that pretend to be them.  python3 -m unittest compare_test"""

import contextlib
import io
import json
import os
import stat
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree as ElementTree

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import compare  # noqa: E402
import compare_infer  # noqa: E402
import doc_section  # noqa: E402

LLMC_OUTPUT = """[GPT-2]
max_seq_len: 1024
val loss 5.325529
step 0: train loss 4.677779 (took 5123.300000 ms)
step 1: train loss 5.191576 (took 3000.000000 ms)
generating:
---
step by step: train loss of patience (took a while)
---
step 2: train loss nan (took 2500.5 ms)
"""


def side(name, seconds, **more):
    figures = dict(compare.spread(seconds), name=name, version="", details=[], tokens_per_s=100, peak_bytes=2**30)
    return dict(figures, ratio=1.0, ratio_low=1.0, ratio_high=1.0, **more)


class Parsing(unittest.TestCase):
    def test_llmc_steps_are_read_from_what_it_prints(self):
        self.assertEqual(compare.parse_llmc_steps(LLMC_OUTPUT.splitlines()), [5.1233, 3.0, 2.5005])
        self.assertEqual(compare.parse_llmc_steps([]), [])

    def test_options(self):
        options = compare.parse_arguments(["--python", "a", "--python", "b", "--threads", "3", "--isa", "avx2"])
        self.assertEqual(options.python, ["a", "b"])
        environment = compare.environment_of(options)
        self.assertEqual(environment["OMP_NUM_THREADS"], "3")
        self.assertEqual(environment["ATEN_CPU_CAPABILITY"], "avx2")
        self.assertEqual(environment["ONEDNN_MAX_CPU_ISA"], "AVX2")

    def test_options_that_cannot_be_meant(self):
        for arguments in (
            ["--isa", "avx99"],
            ["--rounds", "0"],
            ["--steps", "-1"],
            ["--llmc", "x", "--seq-len", "1024"],
            ["--llmc", "x", "--llmc-shape", "1x1024"],
            ["--unknown"],
        ):
            with self.assertRaises(SystemExit) as end, contextlib.redirect_stderr(io.StringIO()) as said:
                compare.parse_arguments(arguments)
            self.assertEqual(end.exception.code, 2, arguments)
            self.assertIn(arguments[0], said.getvalue().replace("llm.c has", "--llmc has"))
        compare.parse_arguments(["--llmc", "x", "--llmc-shape", "1x1024", "--batch", "1", "--seq-len", "1024"])

    def test_commands_hold_no_paths_of_the_machine(self):
        self.assertEqual(compare.command_of(["--llmc", "/a/b/train_gpt2"]), "bench/compare.py --llmc train_gpt2")


class Figures(unittest.TestCase):
    def test_spread(self):
        figures = compare.spread([4, 1, 3, 2])
        self.assertEqual((figures["median_s"], figures["q1_s"], figures["q3_s"]), (2.5, 1.75, 3.25))
        self.assertEqual((figures["best_s"], figures["runs"]), (1, 4))

    def test_ratios_are_taken_within_rounds(self):
        # The machine halves its speed in the second round: no ratio sees it.
        ours = [{"step_seconds": [1.0, 1.0], "peak_bytes": 5}, {"step_seconds": [2.0, 2.0], "peak_bytes": 7}]
        other = [{"step_seconds": [3.0, 3.0], "peak_bytes": 9}, {"step_seconds": [6.0, 6.0], "peak_bytes": 8}]
        figures = compare.summarize("other", other, ours, 256)
        self.assertEqual((figures["ratio"], figures["ratio_low"], figures["ratio_high"]), (3.0, 3.0, 3.0))
        self.assertEqual(figures["peak_bytes"], 9)
        self.assertEqual(figures["median_s"], 4.5)
        self.assertEqual(compare.summarize("ours", ours, ours, 256)["ratio"], 1.0)

    def test_shares_of_the_floor_are_taken_within_rounds(self):
        runs = [{"step_seconds": [s], "peak_bytes": 5, "floor_s": f} for s, f in ((1.0, 0.5), (4.0, 2.0), (2.0, 0.8))]
        figures = compare.summarize("ours", runs, runs, 256)
        self.assertEqual(figures["floor_shares"], [0.5, 0.5, 0.4])
        self.assertEqual(figures["floor_s"], 0.8)

    def test_rounds_alternate(self):
        order = []
        sides = [(name, lambda name=name: order.append(name)) for name in "abc"]
        compare.run_rounds(sides, 2, lambda line: None)
        self.assertEqual("".join(order), "abcacb")

    def test_human_numbers(self):
        self.assertEqual(compare.human_seconds(1.234), "1.23 s")
        self.assertEqual(compare.human_seconds(0.0456), "45.6 ms")
        self.assertEqual(compare.human_seconds(2e-6), "2.00 µs")
        self.assertEqual(compare.human_bytes(3 * 2**29), "1.50 GiB")
        self.assertEqual(compare.human_bytes(2**19), "0.50 MiB")


class Outputs(unittest.TestCase):
    def test_tables_line_up(self):
        table = compare.table_of([side("Inkling", [0.5, 0.6]), side("llm.c <x>", [4.4])], "Inkling")
        lines = table.splitlines()
        self.assertEqual(len(lines), 4)
        self.assertEqual(len({len(line) for line in lines}), 1)
        self.assertIn("| llm.c <x> |", lines[3])

    def test_charts_are_xml_for_light_and_dark(self):
        chart = compare.chart_of([side("Inkling", [0.5, 0.6]), side("a & b", [4.4, 9.9])], "Title <1>", ["machine", "device"])
        root = ElementTree.fromstring(chart)
        names = [element.tag.split("}")[1] for element in root.iter()]
        self.assertEqual(names.count("rect"), 3)  # the ground and two bars
        texts = [element.text for element in root.iter() if element.tag.endswith("text")]
        for text in ("Title <1>", "machine", "device", "a & b", "550 ms", "seconds a training step: less is better", "0"):
            self.assertIn(text, texts)
        self.assertIn("prefers-color-scheme: dark", chart)
        bars = [float(e.get("width")) for e in root.iter() if e.get("class") in ("ours", "bar")]
        self.assertAlmostEqual(bars[1] / bars[0], 7.15 / 0.55, delta=0.1)

    def test_ticks_are_round(self):
        for largest, step in ((1.0, 0.2), (4.4, 1.0), (64, 20), (0.013, 0.005)):
            self.assertAlmostEqual(compare.nice_step(largest), step)


class Documents(unittest.TestCase):
    DOCUMENT = "# A\n<!-- measured: a -->\nold\n<!-- end of a -->\nrest\n<!-- measured: b -->\n<!-- end of b -->\n"

    def test_only_the_section_changes(self):
        once = doc_section.replace_section(self.DOCUMENT, "a", "\nnew\n\n")
        self.assertEqual(once, self.DOCUMENT.replace("old\n", "\nnew\n\n"))
        self.assertEqual(doc_section.replace_section(once, "a", "new"), once)

    def test_sections_that_are_not_there(self):
        for document in ("", "<!-- end of a -->\n<!-- measured: a -->\n", self.DOCUMENT * 2):
            with self.assertRaises(ValueError):
                doc_section.replace_section(document, "a", "new")
        with contextlib.redirect_stderr(io.StringIO()) as err:
            self.assertEqual(doc_section.main(["only"]), 2)
        self.assertIn("usage", err.getvalue())


FAKE_INK = """#!{python}
import json, sys
words = sys.argv[1:]
value = lambda name: words[words.index(name) + 1]
assert words[:2] == ["bench", "train"], words
seconds = 100.0 if value("--device") == "ref" else 1.0
config = {{"context": 64, "vocab": 65, "layers": 1, "heads": 2, "channels": 8, "parameters": 999}}
print(json.dumps({{
    "machine": {{"version": "1.2.3", "cpu": "test", "threads": 2, "hardware_threads": 2, "memory_bytes": 2**30,
                "devices": [{{"name": "cpu", "description": "AVX2"}}]}},
    "train": {{"step_seconds": [seconds] * int(value("--steps")), "config": config, "share_of_floor": 0.5,
              "floor_s": 0.5, "floor_compute_s": 0.4, "floor_optimizer_s": 0.1, "peak_bytes": 2**20}}}}))
"""

FAKE_TORCH = """#!{python}
import json, os, sys
settings = json.load(sys.stdin)
assert sys.argv[-1] == "--torch-worker" and settings["config"]["channels"] == 8, settings
assert os.environ["MALLOC_TRIM_THRESHOLD_"] == os.environ["MALLOC_MMAP_THRESHOLD_"] == str(2**31 - 1)
assert os.environ["OMP_NUM_THREADS"] == str(settings["threads"])
print("a line of chatter")
print(json.dumps({{"step_seconds": [2.0] * settings["steps"], "version": "9.9", "details": ["fake"]}}))
"""

FAKE_LLMC = """#!{python}
import os, time
assert os.path.exists("beside.txt"), "not in its own folder"
print("[GPT-2]")
for step in range({steps}):
    print("step %d: train loss 4.5 (took %f ms)" % (step, 4000.0 if step >= 2 else 9000.0))
if {steps} > 3:
    time.sleep(60)  # ended long before
"""


class WholeRuns(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name

    def program(self, name, text, **values):
        path = os.path.join(self.folder, name)
        with open(path, "w") as file:
            file.write(text.format(python=sys.executable, **values))
        os.chmod(path, os.stat(path).st_mode | stat.S_IXUSR)
        return path

    def run_compare(self, arguments):
        with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(io.StringIO()) as err:
            status = compare.main(arguments)
        return status, out.getvalue(), err.getvalue()

    def test_every_side_is_measured_and_written(self):
        with open(os.path.join(self.folder, "beside.txt"), "w"):
            pass
        results = os.path.join(self.folder, "results")
        arguments = ["--ink", self.program("ink", FAKE_INK), "--python", self.program("python", FAKE_TORCH)]
        arguments += ["--llmc", self.program("llmc", FAKE_LLMC, steps=40), "--naive", "--rounds", "2", "--steps", "3"]
        status, out, err = self.run_compare(arguments + ["--out-dir", results])
        self.assertEqual(status, 0, err)
        for text in ("Inkling 1.2.3", "PyTorch 9.9", "llm.c", "Inkling, ref", "100.00", "4.00 s", "of the same round: 50% (50–50%)"):
            self.assertIn(text, out)
        self.assertNotIn(self.folder, out)
        with open(os.path.join(results, "results.json")) as file:
            steps = {side["name"]: side for side in json.load(file)["steps"]}
        self.assertEqual(steps["llm.c"]["ratio"], 4.0)  # its first steps do not count
        self.assertEqual(steps["llm.c"]["runs"], 6)
        self.assertGreater(steps["llm.c"]["peak_bytes"], 2**20)
        self.assertEqual(steps["PyTorch"]["ratio"], 2.0)
        with open(os.path.join(results, "table.md"), encoding="utf-8") as file:
            self.assertEqual(file.read(), out)
        ElementTree.parse(os.path.join(results, "chart.svg"))

    def test_rounds_before_a_failure_are_kept(self):
        fails = "import os, sys; p = %r; sys.exit('late') if os.path.exists(p) else open(p, 'w')" % (self.folder + "/ran")
        python = self.program("second", "#!/bin/sh\n{python} -c \"%s\" && exec %s \"$@\"\n" % (fails, self.program("python", FAKE_TORCH)))
        results = os.path.join(self.folder, "kept")
        arguments = ["--ink", self.program("ink", FAKE_INK), "--python", python, "--rounds", "2", "--out-dir", results]
        status, out, err = self.run_compare(arguments)
        self.assertEqual((status, out), (1, ""))
        self.assertIn("PyTorch: %s: exit status 1: late" % python, err)
        with open(os.path.join(results, "table.md"), encoding="utf-8") as file:
            self.assertIn("1 round of 5 steps", file.read())

    def test_text_is_utf8_in_any_locale(self):
        command = [sys.executable, compare.__file__, "--ink", self.program("ink", FAKE_INK), "--rounds", "1"]
        environment = dict(os.environ, PYTHONIOENCODING="ascii", LC_ALL="C")
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("–", done.stdout.decode("utf-8"))

    def test_sides_that_fail_are_named(self):
        ink = self.program("ink", FAKE_INK)
        short = self.program("llmc", FAKE_LLMC, steps=3)
        open(os.path.join(self.folder, "beside.txt"), "w").close()
        for arguments, text in (
            (["--ink", os.path.join(self.folder, "none")], "none: No such file"),
            (["--ink", sys.executable + " -c raise(SystemExit('broken'))"], "broken"),
            (["--ink", sys.executable + " -c 'unclosed"], "Inkling: " + sys.executable + " -c 'unclosed: No closing quotation"),
            (["--ink", "true"], "Inkling: true: it printed nothing"),
            (["--ink", "echo"], "Inkling: echo: what it printed is no result"),
            (["--ink", ink, "--python", "sh -c 'exec 0<&-; echo why >&2; kill -9 $$'"], "PyTorch: sh: ended by SIGKILL: why"),
            (["--ink", ink, "--python", "false"], "PyTorch: false: exit status 1"),
            (["--ink", ink, "--out-dir", os.path.join(ink, "below")], "below: Not a directory"),
            (["--ink", ink, "--llmc", short, "--steps", "5"], "only 3 of 7 steps"),
            (["--ink", ink, "--python", sys.executable + " -c raise(SystemExit('no_torch'))"], "no_torch"),
        ):
            status, out, err = self.run_compare(arguments + ["--rounds", "1"])
            self.assertEqual((status, out), (1, ""), arguments)
            self.assertIn(text, err.splitlines()[-1])


class CompareInfer(unittest.TestCase):
    """Two programs that pretend to be ink and llama-bench: they print what those print."""

    INK = """#!/bin/sh
case "$1" in
  quantize) : > "$3" ;;
  bench) echo '{"machine": {"cpu": "a processor", "threads": 2, "version": "1"}, "infer": {"types": [
    {"prompt_tokens_per_s": 300, "decode_tokens_per_s": 60, "share_of_memory_speed": 0.5, "first_token_s": 0.1}]}}' ;;
esac
"""
    LLAMA = """#!/bin/sh
echo '[{"n_prompt": 256, "n_gen": 0, "avg_ts": 100, "build_number": 7, "build_commit": "abc"},
       {"n_prompt": 0, "n_gen": 64, "avg_ts": 40, "build_number": 7, "build_commit": "abc"}]'
"""

    def run_with(self, ink, llama):
        with tempfile.TemporaryDirectory() as folder:
            words = ["--model", "m", "--types", "f16", "--rounds", "2", "--out-dir", os.path.join(folder, "out")]
            for option, text in (("--ink", ink), ("--llama-bench", llama)):
                if text is None:
                    continue
                path = os.path.join(folder, option[2:])
                with open(path, "w", encoding="utf-8") as file:
                    file.write(text)
                os.chmod(path, 0o755)
                words += [option, path]
            command = [sys.executable, "-B", os.path.abspath(compare_infer.__file__)] + words
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, universal_newlines=True)
            results = os.path.join(folder, "out", "results.json")
            if done.returncode == 0:
                with open(results, encoding="utf-8") as file:
                    self.assertEqual(len(json.load(file)["f16"]["ink"]), 2)
            return done

    def test_ratios_of_both(self):
        done = self.run_with(self.INK, self.LLAMA)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| f16 | decode 64 | 60.0 | 40.0 | 1.50x (1.50–1.50) | 50% | 0.10 s |", done.stdout)
        self.assertIn("| f16 | prompt of 256 | 300.0 | 100.0 | 3.00x (3.00–3.00) |  |  |", done.stdout)
        self.assertIn("a processor, 2 threads", done.stdout)
        self.assertIn("build 7 (abc)", done.stdout)

    def test_alone(self):
        done = self.run_with(self.INK, None)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("| f16 | decode 64 | 60.0 |  |  | 50% | 0.10 s |", done.stdout)

    def test_a_program_that_fails(self):
        done = self.run_with(self.INK, "#!/bin/sh\necho no such model >&2\nexit 3\n")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such model", done.stderr)


if __name__ == "__main__":
    unittest.main()
