"""A browser for tests: as much of a W3C WebDriver client as they need, for Chromium and its driver."""
import base64
import http.client
import json
import re
import shutil
import subprocess
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the standard's name for a reference to an element
KEYS = {"ctrl": "\ue009", "enter": "\ue007", "escape": "\ue00c", "tab": "\ue004", "left": "\ue012", "up": "\ue013",
        "right": "\ue014", "down": "\ue015", "home": "\ue011", "end": "\ue010"}


def find_browser():
    """The paths of Chromium and its driver, or a reason why there is none."""
    browser = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
    driver = shutil.which("chromedriver")
    if browser and driver:
        return browser, driver
    return f"no {'chromedriver' if browser else 'Chromium'} here; scripts/setup.sh --readers installs both on Debian"


class WebDriverError(Exception):
    pass


class Element:
    def __init__(self, browser, reference):
        self.browser, self.reference = browser, reference

    def _call(self, method, path, body=None):
        return self.browser.call(method, f"/element/{self.reference}{path}", body)

    def click(self):
        self._call("POST", "/click", {})

    def type(self, text):
        self._call("POST", "/value", {"text": text})

    def clear(self):
        self._call("POST", "/clear", {})

    @property
    def text(self):
        return self.browser.script("return arguments[0].textContent", self)

    @property
    def value(self):
        return self._call("GET", "/property/value")

    def attribute(self, name):
        return self._call("GET", f"/attribute/{name}")

    @property
    def enabled(self):
        return self._call("GET", "/enabled")

    @property
    def displayed(self):
        return self._call("GET", "/displayed")


class Browser:
    """with Browser() as browser: browser.open(url) ..."""

    def __init__(self, width=1280, height=900):
        browser, driver = find_browser()
        self.driver = subprocess.Popen([driver, "--port=0"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.session = None
        for line in self.driver.stdout:
            if match := re.search(r"started successfully on port (\d+)", line):
                break
        else:
            raise WebDriverError("chromedriver did not start")
        self.address = ("127.0.0.1", int(match[1]))
        # Tests may run as root in a container, without a sandbox, a GPU or much shared memory.
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars",
                 "--disable-background-networking", "--disable-component-update", "--no-first-run",
                 f"--window-size={width},{height}"]
        capabilities = {"goog:chromeOptions": {"binary": browser, "args": flags}, "goog:loggingPrefs": {"browser": "ALL"}}
        try:
            self.session = self._request("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})["sessionId"]
        except Exception:
            self.driver.kill()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        try:
            self._request("DELETE", f"/session/{self.session}")
        finally:
            self.driver.terminate()
            self.driver.wait()

    def _request(self, method, path, body=None):
        connection = http.client.HTTPConnection(*self.address, timeout=120)
        connection.request(method, path, None if body is None else json.dumps(body),
                           {"Content-Type": "application/json"})
        value = json.loads(connection.getresponse().read())["value"]
        connection.close()
        if isinstance(value, dict) and "error" in value:
            raise WebDriverError(f"{value['error']}: {value['message'].splitlines()[0]}")
        return value

    def call(self, method, path, body=None):
        return self._request(method, f"/session/{self.session}{path}", body)

    def open(self, url):
        self.call("POST", "/url", {"url": url})

    def find(self, selector):
        return self.all(selector)[0]

    def all(self, selector):
        found = self.call("POST", "/elements", {"using": "css selector", "value": selector})
        return [Element(self, element[ELEMENT]) for element in found]

    def text(self, selector):
        return self.find(selector).text

    def script(self, code, *arguments):
        arguments = [{ELEMENT: a.reference} if isinstance(a, Element) else a for a in arguments]
        return self.call("POST", "/execute/sync", {"script": code, "args": arguments})

    def keys(self, *keys):
        """Presses keys one after another on what has the focus; "ctrl+enter" holds one while pressing the other."""
        actions = []
        for key in keys:
            parts = [KEYS.get(part, part) for part in (key.split("+") if len(key) > 1 else [key])]
            actions += [{"type": "keyDown", "value": part} for part in parts]
            actions += [{"type": "keyUp", "value": part} for part in reversed(parts)]
        self.call("POST", "/actions", {"actions": [{"type": "key", "id": "keyboard", "actions": actions}]})

    def mouse(self, *steps):
        """Steps are ("move", element, x, y), x and y from its middle, "down" and "up"."""
        actions = []
        for step in steps:
            if step in ("down", "up"):
                actions.append({"type": f"pointer{step.capitalize()}", "button": 0})
            else:
                _, element, x, y = step
                actions.append({"type": "pointerMove", "duration": 50, "origin": {ELEMENT: element.reference},
                                "x": x, "y": y})
        pointer = {"type": "pointer", "id": "mouse", "parameters": {"pointerType": "mouse"}, "actions": actions}
        self.call("POST", "/actions", {"actions": [pointer]})

    def pinch(self, element, begin, end):
        """Two fingers on a line through the element's middle, each so far from it at the beginning and at the end."""
        fingers = []
        for name, side in (("left", -1), ("right", 1)):
            move = lambda x: {"type": "pointerMove", "duration": 100, "origin": {ELEMENT: element.reference}, "x": x, "y": 0}
            actions = [move(side * begin), {"type": "pointerDown", "button": 0}, move(side * (begin + end) // 2),
                       move(side * end), {"type": "pointerUp", "button": 0}]
            fingers.append({"type": "pointer", "id": name, "parameters": {"pointerType": "touch"}, "actions": actions})
        self.call("POST", "/actions", {"actions": fingers})

    def wait(self, condition, what, seconds=60):
        """Until condition() is true; returns what it returned."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if value := condition():
                return value
            time.sleep(0.05)
        raise AssertionError(f"waited {seconds} s for {what}")

    def accept_alert(self):
        self.call("POST", "/alert/accept", {})

    def alert_is_open(self):
        try:
            self.call("GET", "/alert/text")
            return True
        except WebDriverError:
            return False

    def log(self):
        """The console's warnings and errors since the last call, blocked scripts among them."""
        return [entry["message"] for entry in self.call("POST", "/se/log", {"type": "browser"})
                if entry["level"] in ("WARNING", "SEVERE")]

    def devtools(self, command, **parameters):
        return self.call("POST", "/goog/cdp/execute", {"cmd": command, "params": parameters})

    def phone(self, width=360, height=740):
        self.devtools("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=2, mobile=True)

    def scheme(self, name):
        """What the system prefers: "light" or "dark"."""
        self.devtools("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def screenshot(self, path):
        with open(path, "wb") as file:
            file.write(base64.b64decode(self.call("GET", "/screenshot")))
