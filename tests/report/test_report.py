"""The report in a real Chromium: what it shows, that it asks for nothing, and what a click does."""

import json

import pytest
import run_folders
from report.browser import chromium, console, open_page, requests, scroll_through
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from seqmodel.report import write_report

pytestmark = pytest.mark.slow
LOAD_S = 5.0


@pytest.fixture(scope="module")
def driver():
    with chromium() as driver:
        yield driver


@pytest.fixture(scope="module")
def states(tmp_path_factory):
    root = tmp_path_factory.mktemp("states") / "it's a <b>folder"
    run_folders.write_every_state(root / "out")
    damaged = run_folders.write_run(root / "out", name="damaged_run")
    (damaged / "usage.json").write_text('{"wall_s": "<b>abc"}')
    return write_report(str(root / "out"), str(root / "report.html"))


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    root = tmp_path_factory.mktemp("many")
    run_folders.write_many(root / "out", 30)
    return write_report(str(root / "out"), str(root / "report.html"))


def texts(driver, selector):
    return [node.text for node in driver.find_elements(By.CSS_SELECTOR, selector)]


def column(driver, key):
    heads = [h.get_attribute("data-key") for h in driver.find_elements(By.CSS_SELECTOR, "#runs th")]
    return texts(driver, f"#runs tbody td:nth-child({heads.index(key) + 1})")


@pytest.mark.parametrize("name", ["states", "many"])
def test_it_loads_quietly_and_draws_every_chart(driver, name, request):
    path = request.getfixturevalue(name)
    driver.set_window_size(1400, 1000)
    open_page(driver, path)
    scroll_through(driver)
    assert console(driver) == []
    assert [url for url in requests(driver) if not url.startswith("file://")] == []
    charts = driver.find_elements(By.CSS_SELECTOR, ".chart")
    assert len(charts) >= 5
    assert all(c.find_elements(By.CSS_SELECTOR, "svg.main-svg") for c in charts)


def test_every_state_is_counted_with_its_offending_line(driver, states):
    open_page(driver, states)
    counts = {t.split("\n")[1]: int(t.split("\n")[0]) for t in texts(driver, "button[data-state]")}
    assert counts == {
        "created": 3,
        "running": 1,
        "error": 3,
        "timeout": 1,
        "complete": 4,
        "damaged": 1,
    }
    shown = "\n".join(texts(driver, ".problem"))
    assert "Detected 1 oom_kill event in StepId=77.batch. Some of the step tasks" in shown
    assert "ValueError: bad" in shown
    assert 'usage.json: wall_s is "<b>abc", not a number of seconds' in shown


def test_hostile_texts_are_shown_as_text(driver, states):
    open_page(driver, states)
    scroll_through(driver)
    row = driver.find_element(By.XPATH, "//div[contains(@class,'problem')][contains(.,'hacked')]")
    assert f"ValueError: {run_folders.HOSTILE}" in row.text
    row.click()
    assert run_folders.HOSTILE in driver.find_element(By.CSS_SELECTOR, "#run pre.log").text
    assert (
        run_folders.HOSTILE
        in driver.find_element(By.ID, "run").text.partition("Hyperparameters")[2]
    )
    assert driver.execute_script("return window.hacked") is None
    assert driver.find_elements(By.CSS_SELECTOR, "#page img") == []
    assert driver.find_element(By.TAG_NAME, "h1").text.endswith("out")


def test_a_click_opens_log_and_hyperparameters_and_escape_closes(driver, states):
    open_page(driver, states)
    driver.find_element(By.ID, "filter").send_keys("complete_run")
    driver.find_element(By.CSS_SELECTOR, "#runs tbody tr.run").click()
    dialog = driver.find_element(By.ID, "run")
    assert "Log (the end of stderr)" in dialog.text
    assert "seqmodel: attempt 1" in dialog.text
    assert "n_layers" in dialog.text
    dialog.send_keys(Keys.ESCAPE)
    WebDriverWait(driver, 5).until(lambda d: d.find_elements(By.ID, "run") == [])


def test_the_table_sorts_by_every_kind_of_column(driver, many):
    open_page(driver, many)
    head = driver.find_element(By.CSS_SELECTOR, '#runs th[data-key="best"] button')
    head.click()
    up = [float(text) for text in column(driver, "best")]
    assert up == sorted(up)
    driver.find_element(By.CSS_SELECTOR, '#runs th[data-key="best"] button').click()
    assert [float(text) for text in column(driver, "best")] == sorted(up, reverse=True)
    driver.find_element(By.CSS_SELECTOR, '#runs th[data-key="encoder"] button').click()
    words = column(driver, "encoder")
    assert words == sorted(words)
    assert len(words) == 30


def test_the_table_filters_by_text_by_value_and_by_state(driver, many, states):
    open_page(driver, many)
    box = driver.find_element(By.ID, "filter")
    box.send_keys("hyena n_layers<=3")
    assert set(column(driver, "encoder")) == {"hyena"}
    assert {int(n) for n in column(driver, "n_layers")} <= {1, 2, 3}
    assert "of 30" in driver.find_element(By.ID, "count").text
    open_page(driver, states)
    driver.find_element(By.CSS_SELECTOR, 'button[data-state="error"]').click()
    assert column(driver, "state") == ["error"] * 3


def test_means_over_replicates_are_a_view_of_the_table(driver, many):
    open_page(driver, many)
    driver.find_element(By.CSS_SELECTOR, "select[aria-label=rows] option[value=groups]").click()
    assert len(column(driver, "replicates")) == 10
    assert set(column(driver, "best_n")) == {"3"}


def test_the_reliability_of_the_best_runs_is_drawn(driver, many):
    open_page(driver, many)
    scroll_through(driver)
    titles = texts(driver, "#test h3")
    assert any(x.startswith("Reliability: on the diagonal") for x in titles)
    assert "mean probability" in texts(driver, "#test .xtitle")
    assert "share of positives" in texts(driver, "#test .ytitle")
    assert console(driver) == []


def test_runs_of_different_tasks_are_compared_apart(driver, states):
    open_page(driver, states)
    options = texts(driver, "select[aria-label=task] option")
    assert options[0] == "classify by valid_loss (9)"
    assert "regress by valid_auroc (2)" in options
    driver.find_element(By.CSS_SELECTOR, "select[aria-label=task] option[value='1']").click()
    assert "valid_auroc (higher is better)" in driver.find_element(By.ID, "hyperparameters").text


def test_an_empty_folder_says_so(driver, tmp_path):
    (tmp_path / "out").mkdir()
    open_page(driver, write_report(str(tmp_path / "out"), str(tmp_path / "r.html")))
    assert "There is no run in this folder yet." in driver.find_element(By.ID, "page").text
    assert console(driver) == []


@pytest.mark.parametrize(("width", "dark"), [(420, False), (420, True), (1400, True)])
def test_nothing_sticks_out_and_dark_is_dark(many, width, dark):
    with chromium(width, 900, dark=dark) as driver:
        open_page(driver, many)
        scroll_through(driver)
        assert driver.execute_script("return document.documentElement.scrollWidth") <= width
        back = driver.execute_script("return getComputedStyle(document.body).backgroundColor")
        bright = int(back.split("(")[1].split(",")[0])
        assert (bright < 60) == dark
        assert console(driver) == []


def test_a_thousand_runs_load_in_time(driver, tmp_path):
    run_folders.write_many(tmp_path / "out", 1000)
    path = write_report(str(tmp_path / "out"), str(tmp_path / "r.html"))
    assert min(open_page(driver, path) for _ in range(3)) < LOAD_S
    assert driver.find_element(By.ID, "count").text == "1000 runs"


def test_the_page_forbids_requests_itself(states):
    with open(states, encoding="utf-8") as file:
        text = file.read()
    assert "default-src &#x27;none&#x27;" in text
    content = text.split('id="content">')[1].split("</script>")[0]
    assert "<" not in content
    assert json.loads(content)["states"]["error"] == 3
