"""A web server and a browser for exported sites."""

import contextlib
import functools
import http.server
import os
import shutil
import threading

import pytest

REQUIRED = os.environ.get("NVISA_TF_BROWSER_TEST") == "required"  # as .ci/run has it


@pytest.fixture
def served():
    """A context in which a folder is served, that gives its address."""

    @contextlib.contextmanager
    def serve(folder):
        class Quiet(http.server.SimpleHTTPRequestHandler):
            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=folder))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            server.server_close()

    return serve


@pytest.fixture
def browser(tmp_path):
    """Headless Chromium by its driver."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver and shutil.which("npm")):
        if REQUIRED:
            pytest.fail("chromium, chromedriver and npm are required here, and one is missing")
        pytest.skip("needs chromium, chromedriver and npm")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    quiet = "no-sandbox disable-gpu disable-quic no-first-run disable-background-networking disable-component-update disable-sync"
    for word in ["headless", *quiet.split(), f"user-data-dir={tmp_path / 'chromium'}"]:
        options.add_argument(f"--{word}")
    found = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield found
    found.quit()
