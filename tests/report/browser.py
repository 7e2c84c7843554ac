"""A headless Chromium that opens local pages, and tells what they log and ask of the network."""

import contextlib
import json
import os
import shutil
import tempfile
import time

from programs import need
from selenium import webdriver
from selenium.webdriver.chrome.service import Service

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--no-first-run",
    "--hide-scrollbars",
)


@contextlib.contextmanager
def chromium(width=1400, height=1000, *, dark=False):
    """A driver of a new Chromium with a profile of its own."""
    binary, driver_path = need("chromium"), need("chromedriver")
    profile = tempfile.mkdtemp(prefix="chromium")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in (*FLAGS, f"--user-data-dir={profile}", f"--window-size={width},{height}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = Service(driver_path, env={**os.environ, "SE_OFFLINE": "true"})
    driver = webdriver.Chrome(options=options, service=service)
    try:
        driver.set_page_load_timeout(120)
        features = [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        yield driver
    finally:
        driver.quit()
        shutil.rmtree(profile, ignore_errors=True)


def open_page(driver, path):
    """Opens a file, waits until tables and plotly are there; returns the seconds that took."""
    driver.get_log("browser"), driver.get_log("performance")
    start = time.perf_counter()
    driver.get(f"file://{path}")
    while driver.execute_script("return document.documentElement.dataset.ready") != "charts":
        assert time.perf_counter() - start < 60, driver.get_log("browser")
        time.sleep(0.02)
    return time.perf_counter() - start


def scroll_through(driver):
    """Scrolls to the end, so that all that is drawn lazily is drawn."""
    driver.execute_script("document.documentElement.style.scrollBehavior = 'auto'")
    height = driver.execute_script("return document.documentElement.scrollHeight")
    for y in range(0, height + 400, 400):
        driver.execute_script(f"window.scrollTo(0, {y})")
        time.sleep(0.15)
    driver.execute_script("window.scrollTo(0, 0)")
    time.sleep(0.3)


def console(driver):
    """What the page wrote to the console, errors and warnings."""
    found = driver.get_log("browser")
    return [entry["message"] for entry in found if entry["level"] in ("SEVERE", "WARNING")]


def requests(driver):
    """The addresses that the page asked for, other than its own file and data in it."""
    found = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            found.append(message["params"]["request"]["url"])
    return [url for url in found if not url.startswith(("data:", "blob:"))]


def screenshot(driver, path):
    """The whole page as a PNG."""
    size = driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"]
    clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
    import base64

    params = {"captureBeyondViewport": True, "clip": clip}
    image = driver.execute_cdp_cmd("Page.captureScreenshot", params)["data"]
    with open(path, "wb") as file:
        file.write(base64.b64decode(image))
