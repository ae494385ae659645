"""The page in a real Chromium: the playground on a small model, the charts of a run that trains meanwhile."""
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import unittest

from webdriver import Browser, find_browser

INK = os.environ["INK"]
# What a model learns by heart: markup that must stay text, and letters of many kinds.
LINES = ["<img src=x onerror=hacked(1)>", "<script>hacked(2)</script>", "KING: to be or not to be", "مرحبا بالعالم",
         "e\u0301 👩‍👩‍👧 ﷺ"]
SHAPE = ["--tokenizer", "char", "--layers", "2", "--heads", "2", "--channels", "48", "--context", "64", "--batch", "8"]


class Program:
    """ink at work, until the end of the with block; url is where it serves."""

    def __init__(self, *arguments, key=""):
        self.process = subprocess.Popen([INK, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                                        text=True, env={**os.environ, "INK_API_KEY": key})
        seen = []
        for line in self.process.stdout:
            seen.append(line)
            if match := re.search(r"on (http://127\.0\.0\.1:\d+)$", line):
                self.url = match[1]
                return
        raise AssertionError("".join(seen))

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.stop()

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=60)
        return self.process.returncode


def setUpModule():
    global folder, browser, server
    folder = tempfile.TemporaryDirectory()
    unittest.addModuleCleanup(folder.cleanup)
    root = pathlib.Path(folder.name)
    (root / "text.txt").write_text("\n".join(LINES * 100), encoding="utf-8")
    subprocess.run([INK, "train", "--data", root / "text.txt", "--out", root / "model", *SHAPE, "--steps",
                    "400", "--lr", "3e-3", "--warmup", "20", "--final-lr-frac", "0.1", "--val-every", "100",
                    "--sample-every", "200"], check=True, stdout=subprocess.DEVNULL)
    # A prompt of the playground may be long, and its run's folder may be called anything.
    odd = root / "<b>run & مرحبا"
    odd.mkdir()
    (odd / "metrics.jsonl").write_text("".join(
        f'{{"step":{step},"loss":{4 - step / 2000},"norm":1}}\n' for step in range(5000)) +
        '{"step":5000,"sample":"<script>hacked(3)</script>"}\n', encoding="utf-8")
    (odd / "run.toml").write_text('lr = 0.5\nheads = 2\ndata = "<i>x</i>"\n', encoding="utf-8")
    server = Program("serve", "--model", root / "model", "--run", root / "model", "--run", odd, "--port", "0")
    unittest.addModuleCleanup(server.stop)
    browser = unittest.enterModuleContext(Browser())


class PageTest(unittest.TestCase):
    def open(self, part, url=None):
        browser.open("about:blank")
        browser.open(f"{url or server.url}/#{part}")
        browser.wait(lambda: browser.find(f"#{part}").displayed, f"#{part}")

    def tearDown(self):
        self.assertEqual(browser.log(), [], "the console has warnings or errors")
        self.assertFalse(browser.alert_is_open())
        self.assertIsNone(browser.script("return window.hacked"))

    def expect_within_width(self):
        wide, narrow = browser.script("return [document.documentElement.scrollWidth, window.innerWidth]")
        self.assertLessEqual(wide, narrow)


class Playground(PageTest):
    def setUp(self):
        self.open("playground")
        browser.script("localStorage.clear()")
        browser.script("window.hacked = undefined")
        self.open("playground")

    def set(self, option, value):
        browser.script("document.getElementById(arguments[0]).value = arguments[1]", f"option-{option}", value)

    def prompt(self, text):
        browser.script("document.getElementById('prompt').value = arguments[0]", text)

    def tokens(self):
        return browser.script("return [...document.querySelectorAll('.token')].map((token) => token.textContent)")

    def done(self):
        return browser.wait(lambda: browser.find("#generate").enabled and browser.text("#status"), "the completion's end")

    def generate(self, prompt, count, **options):
        self.prompt(prompt)
        for option, value in {"max_tokens": count, **options}.items():
            self.set(option, value)
        browser.find("#generate").click()
        return self.done()

    def history(self):
        return [entry.text for entry in browser.all("#history .entry .line")]

    def test_streams_and_stops(self):
        self.prompt("KING")
        self.set("max_tokens", "900000")
        browser.find("#generate").click()
        browser.wait(lambda: len(self.tokens()) > 100, "more tokens than the context holds")
        self.assertIn("tokens/s", browser.text("#speed"))
        self.assertFalse(browser.find("#generate").enabled)
        browser.find("#stop").click()
        self.assertIn("stopped", self.done())
        count = len(self.tokens())
        self.assertLess(count, 900000)
        self.assertFalse(browser.find("#stop").enabled)
        browser.find("#continue").click()
        browser.wait(lambda: len(self.tokens()) > count, "it to go on")
        browser.find("#prompt").click()
        browser.keys("escape")
        self.assertIn("stopped", self.done())
        self.assertEqual(len(self.history()), 1)

    def test_the_seed_decides(self):
        self.assertIn("seed 7", self.generate("KING", 40, seed=7))
        first = self.tokens()
        self.assertEqual(len(first), 40)
        self.generate("KING", 40, seed=7)
        self.assertEqual(self.tokens(), first)
        self.generate("KING", 40, seed=8, temperature=3)
        self.assertNotEqual(self.tokens(), first)

    def test_options_reach_the_model(self):
        self.assertIn("ended by itself", self.generate("KING", 200, temperature=0, stop="not"))
        self.assertEqual("".join(self.tokens()), ": to be or ")
        self.set("stop", "")
        self.set("top_p", "2")
        browser.find("#generate").click()
        self.assertTrue(browser.find("#option-top_p:invalid").displayed)
        self.assertTrue(browser.find("#generate").enabled)

    def test_branches_with_the_mouse(self):
        self.generate("KING", 20, temperature=0)
        before = self.tokens()
        browser.mouse(("move", browser.all(".token")[3], 0, 0))
        browser.wait(lambda: browser.find("#popover").displayed, "the alternatives")
        choices = browser.all("#popover li button")
        self.assertEqual(len(choices), 5)
        self.assertRegex(choices[0].text, r"%$")
        self.assertEqual(choices[0].attribute("aria-pressed"), "true")
        other = browser.script("return arguments[0].querySelector('bdi').textContent", choices[2]).replace("␣", " ")
        other = other.replace("⏎", "\n")
        choices[2].click()
        self.done()
        after = self.tokens()
        self.assertEqual(after[:4], before[:3] + [other])
        self.assertEqual(len(after), 24)
        self.assertEqual(len(self.history()), 2)

    def test_works_with_the_keyboard_alone(self):
        self.set("temperature", "0")
        self.set("max_tokens", "20")
        self.assertEqual(browser.script("return document.activeElement.id"), "prompt")
        browser.keys(*"KING", "ctrl+enter")
        self.done()
        before = self.tokens()
        for _ in range(8):
            browser.keys("tab")
            if browser.script("return document.activeElement.id") == "output":
                break
        browser.keys("right", "right", "right", "left")
        self.assertEqual(browser.text(".token.active"), before[1])
        self.assertIn("%", browser.text(".unseen"), "for those who hear the page")
        browser.keys("escape")
        self.assertFalse(browser.find("#popover").displayed)
        browser.keys("home", "right", "right", "enter", "down")
        self.assertTrue(browser.script("return document.activeElement.closest('#popover') !== null"))
        browser.keys("enter")
        self.done()
        self.assertEqual(self.tokens()[:2], before[:2])
        self.assertNotEqual(self.tokens()[2], before[2])

    def test_markup_is_text(self):
        self.generate("<script>hacked(2)</script><img src=x onerror=hacked(1)>", 1, temperature=0)
        self.generate("<script>", 80, temperature=0)
        text = browser.text("#output")
        self.assertIn("<script>hacked(2)</script>", text)
        self.assertIn("<img", "".join(self.tokens()))
        self.assertEqual(browser.all("#output script, #output img, #history script, #history img"), [])
        self.assertIn("<script>", self.history()[0])

    def test_letters_of_all_kinds(self):
        self.generate("مرحبا", 60, temperature=0)
        text = "".join(self.tokens())
        self.assertIn("بالعالم\ne\u0301 👩‍👩‍👧 ﷺ\n", text)
        self.assertEqual(browser.find("#output").attribute("dir"), "auto")
        self.assertEqual(browser.script("return getComputedStyle(document.getElementById('output')).direction"), "rtl")

    def test_an_empty_prompt_and_one_that_cannot_be(self):
        self.assertIn("seed", self.generate("", 10))
        self.assertEqual(len(self.tokens()), 10)
        self.generate("中", 10)
        self.assertIn("中", browser.text("#status"))
        self.assertEqual(self.tokens(), [])
        browser.log()  # has the answer 400

    def test_long_text_stays_within_the_page(self):
        self.generate("be" * 5000, 5)
        self.assertEqual(len(self.tokens()), 5)
        self.expect_within_width()

    def test_the_history_is_kept_opened_and_forgotten(self):
        self.generate("KING", 5, seed=1)
        first = self.tokens()
        self.generate("be", 6, seed=2)
        self.open("playground")
        self.assertEqual(len(self.history()), 2)
        browser.all("#history .entry")[1].click()
        self.assertEqual(self.tokens(), first)
        self.assertEqual(browser.find("#prompt").value, "KING")
        self.assertEqual(browser.find("#option-seed").value, "1")
        browser.all("#history button.quiet")[0].click()
        self.assertEqual(len(self.history()), 1)
        browser.find("#clear-history").click()
        browser.accept_alert()
        self.assertEqual(self.history(), [])
        self.open("playground")
        self.assertEqual(self.history(), [])

    def test_a_spoilt_history_does_no_harm(self):
        for spoilt in ["{", "5", '[{"id":1}]', '[null, "x", {"id":"1","prompt":"p","pieces":[{}]}]']:
            browser.script("localStorage.setItem('ink.history', arguments[0])", spoilt)
            self.open("playground")
            self.assertEqual(self.history(), [], spoilt)

    def test_every_control_has_a_name(self):
        nameless = browser.script("""
            return [...document.querySelectorAll("input, select, textarea, button, a")].filter((element) =>
              !element.labels?.length && !element.ariaLabel && !element.textContent.trim()).map((e) => e.outerHTML)""")
        self.assertEqual(nameless, [])

    def test_themes(self):
        ground = "return getComputedStyle(document.body).backgroundColor"
        colours = {}
        for scheme in ["light", "dark"]:
            browser.scheme(scheme)
            colours[scheme] = browser.script(ground)
        self.assertNotEqual(colours["light"], colours["dark"])
        browser.find("#theme").click()
        self.assertEqual(browser.find("#theme").attribute("aria-label"), "Theme: light")
        self.assertEqual(browser.script(ground), colours["light"])
        self.open("playground")
        self.assertEqual(browser.script(ground), colours["light"], "it is remembered")
        browser.find("#theme").click()
        browser.scheme("light")
        self.assertEqual(browser.script(ground), colours["dark"])

    def test_fits_a_phone(self):
        browser.phone()
        try:
            self.open("playground")
            self.generate("KING", 30)
            self.expect_within_width()
            browser.all(".token")[5].click()
            right, left = browser.script("const b = document.getElementById('popover').getBoundingClientRect();"
                                         "return [b.right, b.left]")
            self.assertGreaterEqual(left, 0)
            self.assertLessEqual(right, 360)
            self.open("runs")
            browser.wait(lambda: browser.all(".plot path.strong"), "a chart")
            self.expect_within_width()
        finally:
            browser.devtools("Emulation.clearDeviceMetricsOverride")


class Runs(PageTest):
    def loss(self):
        return browser.find('[data-chart="Loss"]')

    def label(self):
        return self.loss().attribute("aria-label")

    def test_charts_grow_while_a_run_trains(self):
        root = pathlib.Path(folder.name)
        arguments = ["train", "--data", root / "text.txt", "--out", root / "live", *SHAPE, "--steps", "100000000",
                     "--val-every", "500", "--sample-every", "500", "--dashboard", "0"]
        with Program(*arguments) as training:
            self.open("runs", training.url)
            self.assertEqual(browser.all("#pages:not([hidden])"), [], "there is no playground here")
            last = lambda: int((re.search(r"at step (\d+)", self.label()) or [0, "-1"])[1])
            first = browser.wait(lambda: last() > 0 and last(), "the first points")
            browser.wait(lambda: last() > first + 200, "more points")
            self.assertIn("validation", self.label())
            for chart in ["Learning rate", "Gradient norm", "Tokens a second"]:
                self.assertRegex(browser.find(f'[data-chart="{chart}"]').attribute("aria-label"), r"live: [\d.]+")
            browser.wait(lambda: browser.all(".sample"), "a sample")
            self.assertIn("parameters", browser.text("#memory"))
            self.assertIn("100000000", browser.text("#run-options"))
            self.assertEqual(training.stop(), 0)
        browser.wait(lambda: "does not answer" in browser.text("#runs-status"), "a word that it has ended")
        browser.log()  # has the failed requests

    def test_zoom_smoothing_and_values(self):
        self.open("runs")
        browser.wait(lambda: "at step 4998" in self.label() or "at step 4996" in self.label(), "the long run")
        self.assertFalse(browser.find("#zoom-reset").enabled)
        browser.mouse(("move", self.loss(), -100, 0), "down", ("move", self.loss(), 0, 0), ("move", self.loss(), 50, 0), "up")
        browser.wait(lambda: browser.find("#zoom-reset").enabled, "the zoom")
        browser.wait(lambda: not re.search("at step 499", self.label()), "the part")
        self.assertIn("no values", self.label(), "the short run has ended before")
        browser.find("#zoom-reset").click()
        browser.wait(lambda: re.search("at step 499", self.label()), "all of it")
        browser.mouse(("move", self.loss(), 60, 0))
        browser.wait(lambda: self.readout(), "values")
        self.assertRegex(self.readout(), r"step \d+.*<b>run & مرحبا [\d.]+ \([\d.]+\)")
        before = browser.find(".plot path.strong").attribute("d")
        browser.script("const s = document.getElementById('smoothing'); s.value = 2; s.dispatchEvent(new Event('input'))")
        self.assertEqual(browser.text("#smoothing-value"), "0.990")
        self.assertNotEqual(browser.find(".plot path.strong").attribute("d"), before)
        ticks = lambda: browser.script("return [...arguments[0].querySelectorAll('text')].map((t) => t.textContent)", self.loss())
        linear = ticks()
        browser.find("#log-scale").click()
        self.assertNotEqual(ticks(), linear)
        browser.find("#log-scale").click()
        browser.find("#run-list input").click()
        self.assertNotIn("model", self.label())
        browser.find("#run-list input").click()

    def readout(self):
        return browser.script("const r = arguments[0].querySelector('.readout'); return r.hidden ? '' : r.textContent",
                              self.loss())

    def test_two_fingers_zoom(self):
        self.open("runs")
        browser.wait(lambda: "at step 4998" in self.label() or "at step 4996" in self.label(), "the long run")
        browser.pinch(self.loss(), 30, 120)
        browser.wait(lambda: browser.find("#zoom-reset").enabled, "the zoom")
        browser.wait(lambda: not re.search("at step 499", self.label()), "the part")
        ends = lambda: [int(step) for step in re.findall(r"at step (\d+)", self.label())]
        self.assertTrue(all(2500 < step < 3600 for step in ends()), self.label())
        browser.pinch(self.loss(), 120, 20)
        browser.wait(lambda: re.search("at step 499", self.label()), "all of it")

    def test_charts_with_the_keyboard(self):
        self.open("runs")
        browser.wait(lambda: "at step" in self.label(), "the charts")
        browser.script("arguments[0].focus()", self.loss())
        browser.keys("right", "right")
        self.assertIn("step 1", self.readout())
        browser.keys("left")
        self.assertIn("step 0", self.readout())
        browser.keys("+")
        browser.wait(lambda: browser.find("#zoom-reset").enabled, "the zoom")
        browser.keys("0")
        browser.wait(lambda: not browser.find("#zoom-reset").enabled, "all steps")

    def test_what_files_hold_is_text(self):
        self.open("runs")
        browser.wait(lambda: len(browser.all(".sample")) == 2, "the samples")
        self.assertEqual(browser.all(".sample")[1].text, "<script>hacked(3)</script>")
        self.assertIn("<b>run & مرحبا", browser.text("#run-list"))
        self.assertIn("<i>x</i>", browser.text("#run-options"))
        self.assertEqual(browser.all("main b, main i, main script"), [])
        browser.find("#only-different").click()
        self.assertIn("lr", browser.text("#run-options"))
        self.assertNotIn("heads", browser.text("#run-options"))


class Key(PageTest):
    def test_asks_for_the_key(self):
        with Program("serve", "--model", pathlib.Path(folder.name) / "model", "--port", "0", key="open-sesame") as locked:
            browser.open(locked.url)
            browser.wait(lambda: browser.find("#key-form").displayed, "the question for the key")
            browser.log()  # has the answer 401
            browser.find("#key").type("open-sesame")
            browser.keys("enter")
            browser.wait(lambda: browser.find("#playground").displayed, "the playground")
            browser.script("document.getElementById('option-max_tokens').value = 5")
            browser.find("#generate").click()
            browser.wait(lambda: len(browser.all(".token")) == 5 and browser.find("#generate").enabled, "a completion")


if __name__ == "__main__":
    found = find_browser()
    if isinstance(found, str):
        print(f"skipped: {found}")
        sys.exit(77)
    unittest.main(verbosity=2)
