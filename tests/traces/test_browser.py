"""The viewer in a real headless Chromium.

Run them with ``pytest -m browser``; a missing browser fails them. With ``--pictures docs/images``
they also write the pictures of the docs.
"""

import base64
import os
import shutil
import subprocess
import sys

import pytest
from agents import Agent, RunConfig, Runner, UserError, function_tool
from selenium.common.exceptions import StaleElementReferenceException
from selenium.webdriver import ActionChains, Chrome, ChromeOptions, Keys
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from tests.traces import gallery
from timestep.ollama.provider import OllamaModelProvider
from timestep.traces.export import export_trace, view_trace
from timestep.traces.records import SpanEnded, SpanStarted, TraceEnded, TraceStarted
from timestep.traces.viewer.page import run_page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
EVIL = "<script>window.hacked = 1</script><img src=x onerror='window.hacked = 1'>"
SIZES = {"desk": (1440, 800), "phone": (390, 844)}


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    options = ChromeOptions()
    options.binary_location = shutil.which("chromium") or "chromium"
    for flag in (*_FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = Chrome(options=options, service=Service(shutil.which("chromedriver")))
    driver.set_page_load_timeout(120)
    driver.set_script_timeout(120)
    yield driver
    driver.quit()


@pytest.fixture
def page(chromium):
    """The browser; what it complained of when the test left fails the test."""
    chromium.get("about:blank")
    chromium.get_log("browser")
    page = Page(chromium)
    page.resize("desk", "light")
    yield page
    page.leave()


class Page:
    """A few words of what a person does. The page may redraw at any time, so each tries again."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, url):
        """Load *url*, also when only its part behind ``#`` differs from what is shown."""
        self.driver.get("about:blank")
        self.driver.get(url)

    def resize(self, size, scheme):
        width, height = SIZES[size]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1}
        self.driver.execute_cdp_cmd(
            "Emulation.setDeviceMetricsOverride", {**metrics, "mobile": size == "phone"}
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})

    def until(self, condition, what=""):
        wait = WebDriverWait(self.driver, 60, ignored_exceptions=[StaleElementReferenceException])
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

    def choose(self, label, value):
        def select():
            element = self.look(f"select[aria-label='{label}']")
            return element and (Select(element).select_by_value(value) or True)

        self.until(select, f"no choice of {label}")

    def press(self, *keys):
        for key in keys:
            ActionChains(self.driver).send_keys(key).perform()

    def texts(self, css):
        return [element.text for element in self.driver.find_elements(By.CSS_SELECTOR, css)]

    def count(self, css, number):
        self.until(lambda: len(self.texts(css)) == number, f"not {number} of {css}")

    def script(self, code):
        return self.driver.execute_script(code)

    def picture(self):
        shot = self.driver.execute_cdp_cmd("Page.captureScreenshot", {"format": "png"})
        return base64.b64decode(shot["data"])

    def leave(self):
        """Close the page; nothing in it may have run or complained."""
        assert self.script("return window.hacked") is None
        assert [entry["message"] for entry in self.driver.get_log("browser")] == []
        self.driver.get("about:blank")


@pytest.fixture
def site(page, viewer):
    """The viewer's URL, left again before the server ends."""
    yield f"{viewer}/"
    page.leave()


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


@pytest.fixture
def told(store):
    """The runs of the gallery; their ids by name."""
    return gallery.fill(store)


def test_the_command_serves_the_page(page, store, weather):
    program = "from timestep.cli import main; main(prog_name='timestep')"
    command = ["traces", "--file", str(store.path), "serve", "--port", "0"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *command],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            page.open(process.stdout.readline().split(" until")[0].split()[-1])
            page.count("a.run", 2)
            page.leave()
        finally:
            process.terminate()


def test_the_list_says_question_answer_and_outcome_and_groups_sessions(page, site, told):
    page.open(site)

    trip = page.text("a.run", "What should I pack?")
    assert "Pack for two climates." in trip
    assert "ok 1 error\n" in trip
    assert "minutes ago" in trip
    assert "cut\n" in page.text("a.run", "Summarize")
    session = page.text(".session", "trip-to-rome 3 runs")
    assert [question in session for question in ("And shoes?", "What should", "visa")] == [True] * 3
    page.click(".session h2 a")
    page.count("a.run", 3)


def test_a_run_has_a_title_and_three_views(page, site, weather):
    page.open(site)
    page.click("a.run", "Weather")
    assert page.find(".detail h2", "Weather")
    page.until(lambda: page.driver.title == "Weather · timestep")
    assert EVIL in page.text(".message.assistant")

    page.click(".tabs a", "Waterfall")
    page.count("button.row", 3)
    page.click(".tabs a", "Raw")
    assert page.find(".detail", "No bytes are stored")


def test_filters_and_the_search_stand_in_an_address_that_can_be_shared(page, site, told):
    page.open(site)
    page.count("a.run", 6)
    page.choose("outcome", "cut")
    page.count("a.run", 1)
    page.choose("outcome", "errors")
    page.count("a.run", 1)
    page.choose("outcome", "")
    page.choose("time", "day")
    page.count("a.run", 4)
    page.choose("agent", "Sceptic")
    page.count("a.run", 1)
    page.choose("agent", "")
    page.count("a.run", 4)
    page.find("input[type=search]").send_keys("oslo snow")
    page.until(lambda: page.texts("mark"))
    assert "snow" in page.text("a.run .excerpt")
    page.count("a.run", 2)

    page.click("a.run", "And shoes?")
    page.find(".detail h2", "And shoes?")
    address = page.driver.current_url
    page.open(address)
    assert page.find(".detail h2", "And shoes?")
    page.count("a.run", 2)
    page.click(".clear")
    page.count("a.run", 6)
    page.find("input[type=search]").send_keys("zzz")
    assert page.find(".nothing", "No such run")


def test_a_cut_answer_says_so(page, site, told):
    page.open(f"{site}#/?outcome=cut")
    page.click("a.run", "Summarize")
    assert page.find(".step .head", "cut at the token limit")


def test_a_script_in_an_answer_stays_text(page, site, weather, record):
    evil = record(EVIL, model=EVIL, tool=EVIL, text=EVIL, group=EVIL)
    for view in ("conversation", "waterfall", "raw"):
        page.open(f"{site}#/run/{evil}/{view}")
        assert page.find(".detail h2", EVIL)
    page.open(f"{site}#/diff/{evil}/{weather}")
    assert page.find(".pair", EVIL)
    page.open(f"{site}#/stats")
    assert page.find("table", EVIL)
    # The fixture asserts that nothing ran.


def test_markdown_is_rendered_and_reaches_nothing(page, site, record):
    hostile = (
        f"# {EVIL}\n\n**bold** `<b>code</b>` [good](https://example.com/a) [bad](javascript:window.hacked=1) "
        "![seen](https://tracker.example/x.png) [data](data:text/html,x)\n\n- one\n- two\n  1. three\n\n"
        "> quoted\n\n| a | b |\n|---|--:|\n| 1 | <i>2</i> |\n\n```html\n<script>window.hacked = 1</script>\n```\n"
    )
    page.open(f"{site}#/run/{record(text=hostile)}/conversation")

    assert page.text(".markdown h4") == EVIL
    assert page.text(".markdown strong") == "bold"
    assert page.text(".markdown p code") == "<b>code</b>"
    assert page.texts(".markdown > ul > li > ol > li") == ["three"]
    assert page.text(".markdown blockquote") == "quoted"
    assert page.texts(".markdown td") == ["1", "<i>2</i>"]
    assert page.text(".markdown .code pre") == "<script>window.hacked = 1</script>"
    links = page.script(
        "return [...document.querySelectorAll('.markdown a')].map((a) => [a.href, a.rel])"
    )
    assert links == [
        ["https://example.com/a", "noopener noreferrer"],
        ["https://tracker.example/x.png", "noopener noreferrer"],
    ]
    assert not page.texts(".detail img, .detail script, .detail i, .detail b")


HUGE = {
    "brackets": "[" * 50_000,
    "stars": "*a " * 16_000,
    "quotes": "> " * 25_000,
    "ticks": "`a``" * 12_000,
    "spaces": " " * 49_000 + "x",
    "rows": "|-" * 24_000,
    "lists": "\n".join("  " * depth + "- x" for depth in range(200)),
    "long": "word " * 400_000,
}


@pytest.mark.parametrize("text", HUGE.values(), ids=list(HUGE))
def test_a_huge_or_nested_answer_is_shown(page, site, record, text):
    page.open(f"{site}#/run/{record(text=text)}/conversation")

    assert page.find(".message.assistant")
    assert page.find(".tabs")
    size = page.script("return document.querySelectorAll('.detail *').length")
    assert size < 60_000


def test_controls_and_reordered_text_are_made_visible(page, site, record):
    run = record(name="n\u202ex", text="a\x1b[31mb \u202egnp.exe\u2066")
    page.open(f"{site}#/run/{run}/conversation")

    assert page.text(".message.assistant .markdown") == "a␛[31mb ⟨U+202E⟩gnp.exe⟨U+2066⟩"
    assert "n⟨U+202E⟩x" in page.text(".detail h2")
    assert page.driver.title.startswith("n⟨U+202E⟩x")


def test_a_run_appears_and_grows_while_it_goes_on(page, site, store):
    page.open(site)
    assert page.find(".live.on", "live")
    assert page.find(".nothing", "No run is recorded yet")

    store.write([TraceStarted("trace_live0001", "Live", None, None, 1.0)])
    page.click("a.run", "Live")
    assert page.find(".title .outcome", "running")
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
    assert page.find(".title .outcome", "ok")


def test_agents_handoffs_tools_and_errors_stand_where_they_happened(page, site, told):
    page.open(f"{site}#/run/{told['trip']}/conversation")

    assert page.find(".markdown table", "Rome")
    assert page.texts("h3.agent") == ["Desk", "Advisor"]
    assert page.texts(".handoff") == ["Desk → Advisor"]
    assert (
        page.text(".thinking summary") == "Two cities, two climates. I can look both up at once. …"
    )
    call = page.text(".call summary", "Oslo")
    assert 'get_weather(city="Oslo")' in call
    assert "650 ms" in call
    assert "→ -3 °C, snow" in call
    [failure] = page.texts(".call + .failure")
    assert "TimeoutError: api.met.no did not answer" in failure
    assert "at weather.py:41" in failure
    assert page.texts(".failure") == [failure]

    last = page.driver.find_elements(By.CSS_SELECTOR, ".step .anchor")[-1]
    page.open(last.get_attribute("href"))
    page.until(lambda: page.script("return document.querySelector('.detail').scrollTop") > 0)


async def test_thinking_calls_settings_and_bytes_of_a_real_run(page, site, run_weather):
    run = await run_weather()
    page.open(f"{site}#/run/{run.trace_id}/conversation")

    assert page.text(".thinking p") == "Look it up."
    page.click(".call summary")
    assert "Oslo: sunny" in page.text(".call pre")
    page.click(".settings summary")
    assert "num_ctx" in page.text(".settings dl", "options")
    page.click(".settings .tool summary", "get_weather The weather in a city.")
    assert '"city"' in page.text(".settings .tool pre")

    page.click(".tabs a", "Raw")
    assert '"get_weather"' in page.text(".raw .body pre", "function_call")
    page.click(".raw summary", "Request")
    assert page.find(".raw pre", '"num_ctx": 4096')


@function_tool(failure_error_function=None)
def look_up(city: str) -> str:
    """The weather in a city."""
    raise LookupError(f"{city} has no station")


async def test_a_tool_that_raises_shows_its_exception(page, site, fake_ollama, installed):
    fake_ollama.reply(tool_calls=[("look_up", {"city": "Rome"})])
    config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url))
    with pytest.raises(UserError):
        await Runner.run(
            Agent(name="Forecaster", model="m", tools=[look_up]), "Rome?", run_config=config
        )
    installed.flush()
    page.open(f"{site}#/run/{installed.find('last')}/conversation")

    failure = page.text(".call + .failure")
    assert "LookupError: Rome has no station" in failure
    assert "at test_browser.py:" in failure
    page.click(".failure summary", "traceback")
    assert "in look_up" in page.text(".failure details")


async def test_an_agent_that_is_a_tool_speaks_inside_its_call(page, site, fake_ollama, installed):
    critic = Agent(name="Critic", model="m")
    author = Agent(name="Author", model="m", tools=[critic.as_tool("ask_critic", "Asks.")])
    fake_ollama.reply(tool_calls=[("ask_critic", {"input": "Good?"})])
    fake_ollama.reply("Too **long**.")
    fake_ollama.reply("Shorter now.")
    config = RunConfig(model_provider=OllamaModelProvider(base_url=fake_ollama.url))
    await Runner.run(author, "Write.", run_config=config)
    installed.flush()
    page.open(f"{site}#/run/{installed.find('last')}/conversation")

    assert page.find(".message.assistant", "Shorter now.")
    assert page.texts(".detail > h3.agent") == ["Author"]
    page.click(".call summary")
    assert page.text(".call .inner h3.agent") == "Critic"
    assert page.text(".call .inner .markdown strong") == "long"


def test_what_is_shown_can_be_copied(page, site, told):
    permissions = ["clipboardReadWrite", "clipboardSanitizedWrite"]
    page.driver.execute_cdp_cmd("Browser.grantPermissions", {"permissions": permissions})
    page.open(f"{site}#/run/{told['trip']}/raw")

    page.click("button[aria-label='Copy the answer']")
    said = "return document.getElementById('said').textContent"
    page.until(lambda: page.script(said) == "Copied the answer.")
    copied = page.driver.execute_async_script("navigator.clipboard.readText().then(arguments[0])")
    assert '"transfer_to_advisor"' in copied


def test_runs_at_the_same_time_stand_in_lanes(page, site, told):
    page.open(f"{site}#/run/{told['parallel']}/conversation")
    page.count(".lane", 2)
    first, second = page.texts(".lane")
    assert "Optimist" in first
    assert "the team knows it" in first
    assert "the team knows it" not in second
    assert page.find(
        ".lane .message.user",
        "new database",
    )

    page.click(".tabs a", "Waterfall")
    page.until(lambda: page.texts(".rows .lane-title"))
    assert page.texts(".rows .lane-title") == [
        "Run 1 of 2, at the same time",
        "Run 2 of 2, at the same time",
    ]


def test_a_step_of_the_waterfall_is_shown_beside_it(page, site, told):
    page.open(f"{site}#/run/{told['trip']}/waterfall")
    # What failed is shown first.
    assert page.find(".beside .failure", "TimeoutError")
    assert page.find("button.row[aria-pressed=true]", "failed")

    page.click("button.row[aria-label^='function · get_weather(city=\"Oslo']")
    page.until(lambda: page.text(".beside h3") == 'get_weather(city="Oslo")')
    assert "-3 °C, snow" in page.text(".beside")
    page.open(page.driver.current_url)
    page.until(lambda: page.text(".beside h3") == 'get_weather(city="Oslo")')
    page.find("button.row[aria-pressed=true]").send_keys(Keys.ARROW_DOWN)
    page.press(Keys.ARROW_DOWN, Keys.ENTER)
    assert page.find(".beside .markdown", "two climates")


def test_two_runs_are_compared_from_a_run(page, site, record):
    left, right = record("Left", text="yes"), record("Right", text="no")
    page.open(f"{site}#/run/{left}/conversation")

    page.choose("Compare with", right)

    assert page.find(".detail h2", "1 step differs")
    assert page.find(".pair.differs .field", "answer")
    assert page.texts(".pair.differs .plain") == ["yes", "no"]
    assert page.texts(".sides-title .soft")[-1] == "The run ended well."


def test_statistics_lead_to_the_runs_of_a_model(page, site, weather):
    page.open(site)
    page.click("#top nav a", "Statistics")
    assert page.find("tr", "other")
    assert page.driver.title == "statistics · timestep"
    page.choose("time", "hour")
    assert page.find(".detail", "Nothing was called")
    page.driver.back()
    page.click(".tabs a", "by tool")
    assert page.find("tr", "get_weather")
    page.click(".tabs a", "by model")
    page.click("tr a", "other")
    page.count("a.run", 1)


def test_keys_do_what_the_mouse_does(page, site, weather):
    page.open(site)
    page.count("a.run", 2)
    page.press("j")
    page.find(".detail h2", "Finance")
    page.press("j")
    page.find(".detail h2", "Weather")
    page.press("2")
    page.count("button.row", 3)
    page.press("k")
    page.find(".detail h2", "Finance")
    page.press("?")
    assert "next run" in page.text("dialog")
    page.press(Keys.ESCAPE)
    page.until(lambda: not page.texts("dialog"))
    page.press("/", "j")
    assert page.until(lambda: page.look("input[type=search]").get_attribute("value")) == "j"
    page.press(Keys.ESCAPE, "s")
    assert page.find(".detail h2", "Statistics")


def test_a_phone_shows_the_list_or_the_run(page, site, weather):
    page.resize("phone", "light")
    page.open(site)
    page.count("a.run", 2)
    assert not page.find(".detail").is_displayed()
    page.click("a.run", "Weather")
    page.until(lambda: not page.look(".runs").is_displayed())
    page.click(".tabs a", "Waterfall")
    page.find("button.row[aria-pressed=true] + .beside")
    page.click(".back")
    page.until(lambda: page.look(".runs").is_displayed())


async def test_an_exported_file_shows_the_run_without_a_server(
    page, run_weather, installed, tmp_path
):
    run = await run_weather(answer=EVIL)
    whole = export_trace(run, installed.body)
    file = tmp_path / "run.html"
    file.write_text(run_page(view_trace(run), whole["bodies"]), encoding="utf-8")

    page.open(file.as_uri())

    assert EVIL in page.until(lambda: page.texts(".message.assistant"))[-1]
    assert page.driver.title == "How is the weather in Oslo? · timestep"
    page.click(".tabs a", "Raw")
    page.click(".raw summary", "Response")
    page.until(lambda: any('"done"' in text for text in page.texts(".raw pre")))
    page.click(".tabs a", "Waterfall")
    assert page.find("button.row", "get_weather")


TOO_FAINT = """
const light = (color) => {
  const parts = color.slice(0, 3).map((value) => value / 255).map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4));
  return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
};
const read = (css) => { const found = css.match(/[\\d.]+/g).map(Number); return found.length === 3 ? [...found, 1] : found; };
const ground = (element) => { for (let at = element; at; at = at.parentElement) { const color = read(getComputedStyle(at).backgroundColor); if (color[3] === 1) return color; } return [255, 255, 255, 1]; };
return [...document.querySelectorAll('body *')].filter((element) => element.checkVisibility() && [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim())).filter((element) => {
  const [a, b] = [light(read(getComputedStyle(element).color)), light(ground(element))];
  return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05) < 4.5;
}).map((element) => element.className + ': ' + element.textContent.slice(0, 40));
"""
UNNAMED = """
return [...document.querySelectorAll('button, select, input, summary, a')].filter((element) => element.checkVisibility() && !(element.getAttribute('aria-label') || element.textContent.trim())).map((element) => element.outerHTML);
"""
PICTURES = {
    ("desk", "light", "conversation"): "viewer.png",
    ("desk", "light", "waterfall"): "viewer-waterfall.png",
    ("desk", "dark", "conversation"): "viewer-dark.png",
    ("phone", "light", "conversation"): "viewer-phone.png",
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("size", list(SIZES))
def test_every_page_fits_and_can_be_read(page, site, told, size, scheme, pytestconfig):
    page.resize(size, scheme)
    trip, both = told["trip"], told["parallel"]
    places = {
        "list": ("", "a.run" if size == "phone" else ".empty"),
        "conversation": (f"run/{trip}/conversation", ".markdown table"),
        "waterfall": (f"run/{trip}/waterfall", ".beside .failure"),
        "raw": (f"run/{trip}/raw", ".body pre"),
        "lanes": (f"run/{both}/conversation", ".lane .message"),
        "diff": (f"diff/{trip}/{both}", ".pair"),
        "statistics": ("stats", "table.stats"),
    }
    folder = pytestconfig.getoption("--pictures")
    for name, (place, sign) in places.items():
        page.open(f"{site}#/{place}")
        page.until(lambda sign=sign: (found := page.look(sign)) and found.is_displayed(), name)
        page.find(".live.on")
        assert page.script("return document.documentElement.scrollWidth") <= SIZES[size][0], name
        assert page.script(TOO_FAINT) == [], name
        assert page.script(UNNAMED) == [], name
        if scheme == "dark" and name == "conversation":
            page.script("document.querySelector('.markdown').scrollIntoView({block: 'end'})")
        if folder and (size, scheme, name) in PICTURES:
            file = pytestconfig.invocation_params.dir / folder / PICTURES[size, scheme, name]
            file.write_bytes(page.picture())
