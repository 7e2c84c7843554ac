"""The report in a real Chromium: what it shows, that it asks for nothing, and what a click does."""

import csv
import json

import pytest
import run_folders
from report.browser import chromium, console, open_page, requests, scroll_through
from report.search_folder import labels, probabilities, write_search
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait
from sklearn import metrics

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


@pytest.fixture(scope="module")
def search(tmp_path_factory):
    root = tmp_path_factory.mktemp("search") / "splice"
    write_search(root)
    return write_report(str(root), str(root.parent / "report.html"))


def texts(driver, selector):
    return [node.text for node in driver.find_elements(By.CSS_SELECTOR, selector)]


def column(driver, key):
    heads = [h.get_attribute("data-key") for h in driver.find_elements(By.CSS_SELECTOR, "#runs th")]
    return texts(driver, f"#runs tbody td:nth-child({heads.index(key) + 1})")


@pytest.mark.parametrize("name", ["states", "many", "search"])
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


def test_a_saved_table_has_no_formula_of_a_spreadsheet(driver, tmp_path):
    for encoder in ("=1+1", "-1", "cnn"):
        run_folders.write_run(tmp_path / "out", encoder=encoder)
    open_page(driver, write_report(str(tmp_path / "out"), str(tmp_path / "r.html")))
    save = "(blob) => { blob.text().then((t) => { window.saved = t; }); return '#'; }"
    driver.execute_script(f"URL.createObjectURL = {save}")
    driver.find_element(By.XPATH, "//button[.='save as CSV']").click()
    text = WebDriverWait(driver, 5).until(lambda d: d.execute_script("return window.saved"))
    rows = list(csv.DictReader(text.splitlines()))
    assert {row["encoder"] for row in rows} == {"'=1+1", "-1", "cnn"}


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


def script(driver, code, *args):
    return driver.execute_script(f"return {code}", *args)


@pytest.fixture
def searched(driver, search):
    open_page(driver, search)
    scroll_through(driver)
    return driver


def test_legends_are_whole_and_all_plots_share_their_colours(searched):
    assert searched.find_element(By.TAG_NAME, "h1").text == "splice"
    assert searched.find_element(By.CSS_SELECTOR, "header .path").text.endswith("/splice")
    names = texts(searched, "#curves .legend span")
    assert names[:2] == [f"lr=0.001, n_layers={n}, warmup_steps=200 (2 replicates)" for n in (4, 2)]
    cut = (
        "[...document.querySelectorAll('.legend span')].filter(x => x.scrollWidth > x.clientWidth)"
    )
    assert script(searched, cut) == []
    line = "document.querySelector(arguments[0]).data.map(t => t.line.color).reverse()"
    best, second = "#3b7dd8", "#e07b39"
    roc = script(searched, line, '[aria-label^="ROC"]')
    assert roc[:3] == [best, best, second]
    parallel = script(searched, line, '[aria-label="parallel coordinates"]')
    assert parallel[:4] == [best, best, second, second]
    colour = "[...document.querySelectorAll(arguments[0])].map(x => getComputedStyle(x).color)"
    curves = script(searched, colour, "#curves .legend i")
    assert script(searched, colour, "#test .legend i")[:3] == [curves[0], curves[0], curves[1]]


def test_the_areas_below_the_curves_are_those_of_scikit_learn(searched):
    truth, p = labels() == 0, probabilities(2.45)[:, 0]
    roc, pr = searched.find_elements(By.CSS_SELECTOR, "#test .legend")[:2]
    assert f"AUROC {metrics.roc_auc_score(truth, p):.4f}" in roc.text.split("\n")
    assert f"AP {metrics.average_precision_score(truth, p):.4f}" in pr.text.split("\n")


def test_the_best_lines_are_the_strongest_and_ticks_of_whole_numbers_are_whole(searched):
    width = "document.querySelector(arguments[0]).data.map(t => t.line.width * t.opacity)"
    widths = script(searched, width, '[aria-label="parallel coordinates"]')
    assert widths == sorted(widths)
    ticks = texts(searched, '[aria-label="effect of n_layers"] .xtick')
    ticks += texts(searched, "#resources .xtick")
    assert len(ticks) > 10
    assert all(x.isdecimal() for x in ticks)
    assert "lr and warmup_steps vary together" in texts(searched, "#hyperparameters .linked")[0]


def test_diverged_runs_are_not_green(searched):
    state = "[...document.querySelectorAll(`#runs .state.${arguments[0]}`)]"
    colour = f"{state}.map(x => getComputedStyle(x).color)"
    complete, diverged = (script(searched, colour, x) for x in ("complete", "diverged"))
    assert (len(complete), len(diverged)) == (12, 3)
    assert not {*complete} & {*diverged}
    shown = texts(searched, "#problems .problem")
    assert len(shown) == 3
    assert "3 runs, all with lr=0.001, n_layers=8, warmup_steps=200 · out of memory" in shown[0]
    searched.find_element(By.XPATH, "//section[@id='problems']//button[.='seed=2']").click()
    assert "n_layers=8" in searched.find_element(By.CSS_SELECTOR, "#run h2").text


def test_predictions_logos_and_tracks_have_sections(searched):
    assert len(texts(searched, "#predictions tbody tr")) > 3
    loaded = "[...document.querySelectorAll('#logos img')].map(x => x.naturalWidth > 100)"
    assert script(searched, loaded) == [True]
    assert len(searched.find_elements(By.CSS_SELECTOR, "#tracks .chart svg.main-svg")) >= 2
    assert "c2:1501-2500" in searched.find_element(By.ID, "tracks").text


@pytest.mark.parametrize(("width", "first"), [(500, "table"), (1400, "problems")])
def test_on_a_narrow_screen_results_come_before_failures(search, width, first):
    with chromium(width, 900) as driver:
        open_page(driver, search)
        cards = script(driver, "[...document.querySelectorAll('section.card')].map(x => x.id)")
        assert cards[0] == first
        assert (cards.index("problems") > cards.index("tracks")) == (width == 500)


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
