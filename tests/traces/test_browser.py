"""The viewer in a real headless Chromium.

Run them with ``pytest -m browser``; a missing browser fails them.
"""

import os
import shutil
import subprocess
import sys

import pytest
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import Chrome, ChromeOptions
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from timestep.traces.export import export_trace, view_trace
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted
from timestep.traces.viewer.page import run_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium):
    """The browser; what it complained of when the test left fails the test."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    page = Page(chromium)
    yield page
    page.leave()


class Page:
    """A few words of what a person does. The page may redraw at any time, so each tries again."""

    def __init__(self, driver):
        self.driver = driver

    def until(self, condition, what=""):
        wait = WebDriverWait(self.driver, 20, ignored_exceptions=[StaleElementReferenceException])
        return wait.until(lambda _: condition(), what)

    def look(self, css, text=""):
        found = self.driver.find_elements(By.CSS_SELECTOR, css)
        return next((element for element in found if text in element.text), None)

    def find(self, css, text=""):
        """The first element of *css* that shows *text*, as soon as there is one."""
        return self.until(lambda: self.look(css, text), f"no {css} with {text!r}")

    def text(self, css, text=""):
        """What that element shows."""
        return self.until(lambda: (e := self.look(css, text)) and e.text, f"no {css}: {text!r}")

    def click(self, css, text=""):
        def press():
            element = self.look(css, text)
            if element is None:
                return False
            element.click()
            return True

        self.until(press, f"no {css} with {text!r}")

    def texts(self, css):
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, css)]

    def leave(self):
        """Close the page; nothing in it may have run or complained."""
        assert self.driver.execute_script("return window.hacked") is None
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []
        self.driver.get("about:blank")


@pytest.fixture
def viewer(store, page):
    """The viewer as the command runs it, in a process of its own; its URL."""
    program = "from timestep.cli import main; main(prog_name='timestep')"
    with subprocess.Popen(
        [
            sys.executable,
            "-c",
            program,
            "traces",
            "--file",
            str(store.path),
            "serve",
            "--port",
            "0",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            yield process.stdout.readline().split(" until")[0].split()[-1]
            page.leave()
        finally:
            process.terminate()


@pytest.fixture
def weather(record):
    """Two runs that answered differently, one of them hostile; the id of the first."""
    first = record("Weather", at=1000.0, text=EVIL)
    record(
        "Finance",
        at=2000.0,
        model="other",
        tool="quote",
        text="Stocks fell.",
        error='{"message": "too hot"}',
    )
    return first


def test_runs_are_listed_opened_and_walked_through(page, viewer, weather):
    page.driver.get(viewer)
    assert [text.split("\n")[0] for text in page.until(lambda: page.texts(".run"))] == [
        "Finance",
        "Weather",
    ]

    page.click(".run", "Weather")
    assert page.find(".detail h2", "Weather")
    assert EVIL in page.text(".message.assistant")

    page.click(".tabs a", "Waterfall")
    page.until(lambda: len(page.texts(".waterfall button")) == 3)
    page.click(".waterfall button", "get_weather")
    assert '"output": "x"' in page.text(".span")

    page.click(".tabs a", "Raw")
    assert "No bytes are stored" in page.text(".detail", "No bytes")


def test_filters_and_the_search_narrow_the_list(page, viewer, weather):
    page.driver.get(viewer)
    page.until(lambda: len(page.texts(".run")) == 2)

    Select(page.find("select[aria-label=model]")).select_by_value("other")
    page.until(lambda: len(page.texts(".run")) == 1)
    assert "Finance" in page.text(".run")
    Select(page.find("select[aria-label=model]")).select_by_value("")
    page.until(lambda: len(page.texts(".run")) == 2)
    page.click("input[type=checkbox]")
    page.until(lambda: len(page.texts(".run")) == 1)
    page.click("input[type=checkbox]")
    page.find("input[type=search]").send_keys("stocks fel")
    page.until(lambda: len(page.texts(".run")) == 1)
    page.find("input[type=search]").send_keys("zzz")
    assert page.find(".nothing", "No such run")


def test_a_script_in_an_answer_stays_text(page, viewer, weather, record, store):
    evil = record(EVIL, model=EVIL, tool=EVIL, text=EVIL, group=EVIL)
    for view in ("conversation", "waterfall", "raw"):
        page.driver.get(f"{viewer}#/run/{evil}/{view}")
        assert page.find(".detail h2", EVIL)
        page.driver.refresh()
        assert page.find(".detail h2", EVIL)
    page.driver.get(f"{viewer}#/diff/{evil}/{weather}")
    assert page.find(".pair", EVIL)
    assert page.find(".run", EVIL)
    # The fixture asserts that nothing ran.


def test_a_run_appears_and_grows_while_it_goes_on(page, viewer, store):
    page.driver.get(viewer)
    assert page.find(".live.on", "live")
    assert page.find(".nothing")

    store.write([TraceStarted("trace_live0001", "Live", None, None, 1.0)])
    page.click(".run", "Live")
    assert page.find(".badge", "running")
    store.write([SpanStarted("s1", "trace_live0001", None, "generation", "m", 1.0)])
    assert page.find(".step .head", "running")
    data = '{"output": [{"role": "assistant", "content": "Here I am."}]}'
    store.write(
        [
            SpanEnded("s1", "trace_live0001", "generation", "m", 2.0, None, data),
            TraceEnded("trace_live0001", 2.0),
        ]
    )

    assert page.find(".message.assistant", "Here I am.")
    page.until(lambda: not page.texts(".badge"))


async def test_thinking_and_calls_are_folded_and_bytes_are_shown(page, viewer, run_weather):
    run = await run_weather()
    page.driver.get(f"{viewer}#/run/{run.trace_id}/conversation")

    thinking = page.find("details.thinking")
    assert "Look it up." not in thinking.text
    thinking.find_element(By.TAG_NAME, "summary").click()
    assert "Look it up." in thinking.text
    call = page.find("details.call")
    call.find_element(By.TAG_NAME, "summary").click()
    assert "Oslo: sunny" in call.text

    page.click(".tabs a", "Raw")
    request = page.find(".raw details", "Request")
    request.find_element(By.TAG_NAME, "summary").click()
    page.until(lambda: '"num_ctx": 4096' in request.text)


def test_two_runs_are_compared_from_a_run(page, viewer, record):
    left, right = record("Left", text="yes"), record("Right", text="no")
    page.driver.get(f"{viewer}#/run/{left}/conversation")

    page.until(lambda: page.texts(".compare option"))
    Select(page.find(".compare select")).select_by_value(right)

    assert page.find(".detail h2", "1 step differs")
    assert page.find(".pair.differs .field", "answer")
    assert page.texts(".pair.differs .plain") == ["yes", "no"]


def test_a_phone_shows_the_list_or_the_run(page, viewer, weather):
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 1, "mobile": True}
    page.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        page.driver.get(viewer)
        assert not page.driver.find_element(By.CSS_SELECTOR, ".detail").is_displayed()
        page.click(".run", "Weather")
        page.until(lambda: not page.driver.find_element(By.CSS_SELECTOR, ".runs").is_displayed())
        width = page.driver.execute_script("return document.documentElement.scrollWidth")
        assert width <= 390
        page.click(".back")
        page.until(lambda: page.driver.find_element(By.CSS_SELECTOR, ".runs").is_displayed())
    finally:
        page.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


async def test_an_exported_file_shows_the_run_without_a_server(
    page, run_weather, installed, tmp_path
):
    run = await run_weather(answer=EVIL)
    whole = export_trace(run, installed.body)
    file = tmp_path / "run.html"
    file.write_text(run_page(view_trace(run), whole["bodies"]), encoding="utf-8")

    page.driver.get(file.as_uri())

    assert EVIL in page.until(lambda: page.texts(".message.assistant"))[-1]
    page.click(".tabs a", "Raw")
    page.click(".raw summary", "Response")
    page.until(lambda: any('"done"' in text for text in page.texts(".raw pre")))
    page.click(".tabs a", "Waterfall")
    assert page.find(".waterfall button", "get_weather")
