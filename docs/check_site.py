"""Open every page of the built site in a browser, at the width of a desk and of a telephone.

    python docs/check_site.py docs/_build/html [--pictures FOLDER]

No error on the console, nothing fetched from elsewhere, no broken link or picture, all formulas
rendered, nothing wider than the page, and the search finds `loss_and_gradient`. Needs selenium and
Chromium with its driver (on Debian the packages chromium and chromium-driver). Ends with 0 where
there is no browser, after a line that says so, unless --must is given.
"""

from __future__ import annotations

import argparse
import functools
import http.server
import shutil
import sys
import threading
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urldefrag, urljoin, urlsplit

WIDTHS = {"desk": (1400, 900), "phone": (390, 844)}
PICTURED = ["index", "guide", "math", "results", "api", "_gallery/index", "internals", "training"]
PICTURED += ["_api/fastsoftmax.loss_and_gradient"]
SEEN = """
const scrolls = e => e && e.tagName != 'ARTICLE'
    && (getComputedStyle(e).overflowX != 'visible' || scrolls(e.parentElement));
const right = document.querySelector('article')?.getBoundingClientRect().right ?? innerWidth;
const wide = [...document.querySelectorAll('article *')].filter(e =>
    e.getBoundingClientRect().right > Math.min(right, innerWidth) + 1 && !scrolls(e.parentElement));
return {
    rendered: document.querySelectorAll('mjx-container').length,
    formulas: document.querySelectorAll('.math').length,
    wrong: document.querySelectorAll('mjx-merror, mjx-container [style*="color: red"]').length,
    broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).map(i => i.src),
    fetched: performance.getEntriesByType('resource').map(e => e.name),
    wide: wide.slice(0, 4).map(e => `${e.tagName} ${e.className} ${e.textContent.slice(0, 60)}`),
};
"""


class _Page(HTMLParser):
    """The links of a page, and what they may point to in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.places: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.places.add(given.get("id") or "")
        for name in ("href", "src"):
            if given.get(name):
                self.links.add(given[name] or "")


def pages_of(site: Path) -> list[str]:
    files = (file.relative_to(site) for file in site.rglob("*.html"))
    return sorted(file.as_posix() for file in files if file.parts[0] != "_static")


def broken_links(site: Path) -> list[str]:
    """Links within the site that lead nowhere, and resources that lie elsewhere."""
    pages = {site / it: _Page((site / it).read_text(encoding="utf-8")) for it in pages_of(site)}
    wrong = []
    for file, page in pages.items():
        for link in page.links:
            if urlsplit(link).scheme in ("http", "https", "mailto", "data", "javascript"):
                continue
            path, place = urldefrag(urljoin(file.as_uri(), link))
            target = Path(unquote(urlsplit(path).path))
            if not target.exists():
                wrong.append(f"{file.relative_to(site)}: {link} leads nowhere")
            elif target in pages and unquote(place) not in pages[target].places:
                wrong.append(f"{file.relative_to(site)}: {link} names no place in the page")
    return wrong


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """The browser went on before it had all of a page: no matter."""


def serve(site: Path) -> _Server:
    handler = functools.partial(_Handler, directory=str(site))
    server = _Server(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def open_browser(chromium: str, driver: str) -> Any:
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options, webdriver.ChromeService(driver))


def set_width(browser: Any, size: tuple[int, int]) -> None:
    """As a device has it: a window cannot be made as narrow."""
    width, height = size
    metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)


def look(browser: Any, address: str) -> list[str]:
    """What is wrong with a page."""
    browser.get(address)
    deadline = time.monotonic() + 20
    while True:
        seen = browser.execute_script(SEEN)
        if seen["rendered"] >= seen["formulas"] and not seen["broken"]:
            break
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    log = browser.get_log("browser")
    wrong = [f"console: {it['message']}" for it in log if it["level"] in ("SEVERE", "WARNING")]
    if seen["rendered"] < seen["formulas"]:
        wrong.append(f"{seen['rendered']} of {seen['formulas']} formulas are rendered")
    if seen["wrong"]:
        wrong.append(f"{seen['wrong']} formulas are wrong")
    base = "{0.scheme}://{0.netloc}/".format(urlsplit(address))
    wrong += [f"fetched from elsewhere: {it}" for it in seen["fetched"] if not it.startswith(base)]
    wrong += [f"broken picture: {it}" for it in seen["broken"]]
    return wrong + [f"too wide: {it}" for it in seen["wide"]]


def search(browser: Any, base: str) -> list[str]:
    browser.get(f"{base}search.html?q=loss_and_gradient")
    deadline = time.monotonic() + 20
    found = "return [...document.querySelectorAll('#search-results li a')].map(a => a.href)"
    while not any("fastsoftmax.loss_and_gradient" in it for it in browser.execute_script(found)):
        if time.monotonic() > deadline:
            return ["the search does not find loss_and_gradient"]
        time.sleep(0.1)
    return []


def take_pictures(browser: Any, base: str, name: str, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for theme in ("light", "dark"):
        for page in PICTURED:
            browser.get(f"{base}{page}.html")
            browser.execute_script(f"document.documentElement.dataset.theme = '{theme}'")
            time.sleep(0.5)
            browser.save_screenshot(str(folder / f"{page.replace('/', '-')}-{name}-{theme}.png"))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("site", type=Path)
    parser.add_argument("--pictures", type=Path, help="where to write pictures of the main pages")
    parser.add_argument("--must", action="store_true", help="fail where there is no browser")
    given = parser.parse_args()
    site = given.site.resolve()
    wrong = broken_links(site)
    pages = pages_of(site)
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        print("not opened in a browser: there is no chromium with its chromedriver here")
        if given.must:
            return 1
    else:
        server = serve(site)
        base = f"http://127.0.0.1:{server.server_port}/"
        browser = open_browser(chromium, driver)
        try:
            for name, size in WIDTHS.items():
                set_width(browser, size)
                for page in pages:
                    wrong += [f"{page} ({name}): {it}" for it in look(browser, base + page)]
                wrong += search(browser, base)
                if given.pictures:
                    take_pictures(browser, base, name, given.pictures)
        finally:
            browser.quit()
            server.shutdown()
        print(f"{len(pages)} pages at {len(WIDTHS)} widths")
    print("\n".join(wrong) or "nothing is wrong")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
