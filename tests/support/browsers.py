"""Chromium from the system, which opens pages from disk and reaches nothing else.

Importing skips the importing tests without selenium.
"""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

webdriver = pytest.importorskip("selenium.webdriver", reason="pip install selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.support.ui import WebDriverWait  # noqa: E402

BROWSER, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
NEEDS_CHROMIUM = pytest.mark.skipif(
    not (BROWSER and DRIVER), reason="apt-get install chromium chromium-driver"
)
DESK, PHONE = (1280, 900), (390, 844)


@contextmanager
def started_browser() -> Iterator[Any]:
    """Yield a browser, which is closed afterwards."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(BROWSER)
    options.add_argument("--headless=new")
    options.add_argument("--host-resolver-rules=MAP * ~NOTFOUND")  # no name leads anywhere
    options.add_argument("--disable-dev-shm-usage")
    options.add_argument("--force-prefers-reduced-motion")  # no scrolling under a click
    if os.geteuid() == 0:
        options.add_argument("--no-sandbox")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    service = webdriver.ChromeService(executable_path=str(DRIVER))
    with webdriver.Chrome(options=options, service=service) as driver:
        yield driver


def set_window(browser: Any, width: int, height: int) -> None:
    """Give the browser a window of a size; a narrow one is a phone's."""
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def visit(browser: Any, address: str) -> None:
    """Open an address as a new visitor, also if only its last part differs from the present."""
    browser.get("about:blank")
    browser.get(address)
    ready = "return document.documentElement.dataset.ready"
    WebDriverWait(browser, 60).until(lambda driver: driver.execute_script(ready) == "yes")


def opened(browser: Any, page: Path) -> Any:
    """Open a page, which must fit into the width of the window."""
    visit(browser, page.as_uri())
    fits = "return document.documentElement.scrollWidth <= window.innerWidth"
    assert browser.execute_script(fits), f"{page} is wider than the window"
    return browser


def texts(browser: Any, selector: str) -> list[str]:
    """Return the visible text of each element."""
    return [item.text for item in browser.find_elements(By.CSS_SELECTOR, selector)]


def show(browser: Any, page: Path, theme: str) -> None:
    """Open a page in a theme, with all that it folds open."""
    visit(browser, page.as_uri())
    if browser.execute_script("return document.documentElement.dataset.theme") != theme:
        browser.find_element(By.ID, "theme").click()
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")


def axe_violations(browser: Any) -> list[tuple[str, str]]:
    """Return what axe finds on the open page: the rule, and the first element that breaks it."""
    axe = pytest.importorskip("axe_core_python", reason="pip install axe-core-python")
    browser.execute_script((Path(axe.__file__).parent / "axe.min.js").read_text("utf-8"))
    run = "const done = arguments[0]; axe.run().then(done, error => done(String(error)))"
    found = browser.execute_async_script(run)
    assert found["passes"]
    return [(item["id"], item["nodes"][0]["html"]) for item in found["violations"]]


CONTRASTS = """
const rgb = text => text.match(/[0-9.]+/g).map(Number);
const light = part => {
  part /= 255;
  return part <= .04045 ? part / 12.92 : ((part + .055) / 1.055) ** 2.4;
};
const luminance = c => .2126 * light(c[0]) + .7152 * light(c[1]) + .0722 * light(c[2]);
const paint = element => {
  for (let at = element; at; at = at.parentElement) {
    const found = rgb(getComputedStyle(at).backgroundColor);
    if (found.length === 3 || found[3] === 1) { return found; }
  }
  return [255, 255, 255];
};
const low = [];
for (const element of document.querySelectorAll('main *, header *, footer *')) {
  const own = [...element.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
  if (!own || !element.checkVisibility() || element.closest('svg, select, .unseen')) { continue; }
  const [a, b] = [rgb(getComputedStyle(element).color), paint(element)].map(luminance);
  const ratio = (Math.max(a, b) + .05) / (Math.min(a, b) + .05);
  if (ratio < 4.5) { low.push([element.className, element.textContent.slice(0, 30), ratio]); }
}
return low;
"""
