"""A web server and a browser for exported sites."""

import contextlib
import functools
import http.server
import threading

import pytest


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
def browser(tmp_path, open_chromium):
    """Headless Chromium by its driver, and npm, which the sites need."""
    with open_chromium(tmp_path / "chromium", "npm") as found:
        yield found
