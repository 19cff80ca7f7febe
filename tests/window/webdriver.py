"""A small WebDriver client (W3C WebDriver, level 1) for WebKitWebDriver, standard library only.

Covers what these tests use: one session, elements by CSS selector, clicks, keys, scripts. The
driver's screenshot command hangs on WebKitGTK 2.50, so pictures are taken from the X server.
"""

import http.client
import json
import time

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"

# Keys that have no character, section 17.4.2.
ENTER = "\ue007"
ESCAPE = "\ue00c"
SPACE = " "
CONTROL = "\ue009"
ARROW_DOWN = "\ue015"


class WebDriverError(Exception):
    """The driver's answer to a command that it could not do."""

    def __init__(self, error, message):
        super().__init__(f"{error}: {message}")
        self.error = error


class Session:
    """One start of the program; `end` closes it."""

    def __init__(self, port, binary, args=(), timeout=60):
        self.port = port
        self.timeout = timeout
        self.path = ""
        options = {"binary": str(binary), "args": list(args)}
        # No browserName: the driver compares it with the program's own and refuses.
        answer = self._call(
            "POST",
            "/session",
            {"capabilities": {"alwaysMatch": {"webkitgtk:browserOptions": options}}},
        )
        self.path = f"/session/{answer['sessionId']}"
        self._call("POST", "/timeouts", {"script": 30_000, "implicit": 0})

    def _call(self, method, path, body=None):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.timeout)
        try:
            data = None if body is None else json.dumps(body).encode()
            headers = {} if data is None else {"Content-Type": "application/json"}
            connection.request(method, self.path + path, data, headers)
            value = json.loads(connection.getresponse().read())["value"]
        finally:
            connection.close()
        if isinstance(value, dict) and "error" in value:
            raise WebDriverError(value["error"], value.get("message", ""))
        return value

    def end(self):
        """Ends the session, and with it the program."""
        self._call("DELETE", "")

    @property
    def title(self):
        """Title of the page."""
        return self._call("GET", "/title")

    def resize(self, width, height):
        """Gives the window a size."""
        self._call("POST", "/window/rect", {"x": 0, "y": 0, "width": width, "height": height})

    def reload(self):
        """Loads the page again."""
        self._call("POST", "/refresh", {})

    def run(self, script, *args):
        """Runs the body of a function in the page and returns what it returns."""
        args = [{ELEMENT: a.id} if isinstance(a, Element) else a for a in args]
        return self._wrap(self._call("POST", "/execute/sync", {"script": script, "args": args}))

    def all(self, css):
        """All elements that match."""
        found = self._call("POST", "/elements", {"using": "css selector", "value": css})
        return [Element(self, each[ELEMENT]) for each in found]

    def find(self, css, seconds=10):
        """The first element that matches, as soon as there is one."""
        return self.wait(lambda: next(iter(self.all(css)), None), f"an element {css}", seconds)

    def wait(self, condition, what, seconds=10):
        """Asks until the answer is true; an element that went meanwhile is no answer."""
        end = time.monotonic() + seconds
        while True:
            try:
                answer = condition()
            except WebDriverError as error:
                if error.error not in ("stale element reference", "no such element"):
                    raise
                answer = None
            if answer:
                return answer
            if time.monotonic() > end:
                raise AssertionError(f"after {seconds} s there is not: {what}")
            time.sleep(0.1)

    def keys(self, *keys):
        """Presses keys one by one wherever the focus is; a tuple is a chord."""
        actions = []
        for key in keys:
            chord = key if isinstance(key, tuple) else (key,)
            actions += [{"type": "keyDown", "value": each} for each in chord]
            actions += [{"type": "keyUp", "value": each} for each in reversed(chord)]
        source = {"type": "key", "id": "keyboard", "actions": actions}
        self._call("POST", "/actions", {"actions": [source]})

    def point(self, x, y):
        """Moves the pointer."""
        move = {"type": "pointerMove", "x": x, "y": y, "origin": "viewport", "duration": 0}
        source = {"type": "pointer", "id": "mouse", "actions": [move]}
        self._call("POST", "/actions", {"actions": [source]})

    def _wrap(self, value):
        if isinstance(value, dict):
            if ELEMENT in value:
                return Element(self, value[ELEMENT])
            return {key: self._wrap(each) for key, each in value.items()}
        if isinstance(value, list):
            return [self._wrap(each) for each in value]
        return value


class Element:
    """An element of the page."""

    def __init__(self, session, element_id):
        self.session = session
        self.id = element_id

    def _call(self, method, path, body=None):
        return self.session._call(method, f"/element/{self.id}{path}", body)

    @property
    def text(self):
        """Its text as it is rendered. The driver's own command leaves out what may be clipped."""
        return self.property("innerText").strip()

    @property
    def enabled(self):
        """Whether it can be used."""
        return self._call("GET", "/enabled")

    def attribute(self, name):
        """An attribute, or None."""
        return self._call("GET", f"/attribute/{name}")

    def property(self, name):
        """A property of the DOM object."""
        return self._call("GET", f"/property/{name}")

    def click(self):
        """Scrolls to it and clicks in its middle."""
        self._call("POST", "/click", {})

    def type(self, text):
        """Types into it."""
        self._call("POST", "/value", {"text": text})

    def clear(self):
        """Empties a field."""
        self._call("POST", "/clear", {})

    def all(self, css):
        """Elements within it."""
        found = self._call("POST", "/elements", {"using": "css selector", "value": css})
        return [Element(self.session, each[ELEMENT]) for each in found]

    def find(self, css):
        """The first element within it that matches, now."""
        found = self.all(css)
        if not found:
            raise WebDriverError("no such element", css)
        return found[0]
