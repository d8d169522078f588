"""Headless chromium loads a page from a server on loopback, runs its script and says what the page has become."""

import functools
import http.server
import os
import re
import threading

from harness import Failed, digest

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


class Handler(http.server.SimpleHTTPRequestHandler):
    """Files; and /hold, which is answered only after /done: the page is loaded when its script says so."""

    finished = threading.Event()

    def log_message(self, *_):
        pass

    def do_GET(self):
        if self.path.startswith("/done"):
            self.finished.set()
        elif self.path.startswith("/hold"):
            self.finished.wait(120)
        else:
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", "0")
        self.end_headers()


def run(r):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=DATA))
    server.handle_error = lambda *_: None  # the browser hangs up when it likes
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        for turn in range(r.size(1, 3)):
            picture = r.path(f"page{turn}.png")
            common = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
                      "--disable-extensions", "--disable-background-networking", "--disable-component-update",
                      "--hide-scrollbars", "--window-size=800,600",
                      f"--user-data-dir={r.path('profile%d' % turn)}"]
            url = f"http://127.0.0.1:{server.server_address[1]}/page.html"
            Handler.finished.clear()
            proc = r.start([*common, "--dump-dom", url], name="chromium dom", memory=True)
            done = proc.wait(240)
            if done.timed_out or done.signal or done.code:
                raise Failed(f"{done.describe()}\n{proc.tail()}")
            state = re.search(r'<pre id="result">(.*?)</pre>', done.out, re.S)
            if not state or "done" not in state.group(1):
                raise Failed("the page's script did not come to its end\n" + done.out[-400:] + proc.tail(5))
            r.fact(f"result {turn}", state.group(1))
            r.fact(f"document {turn}", digest(done.out))
            r.peak(proc.watch.peak_together)
            Handler.finished.clear()
            proc = r.start([*common, f"--screenshot={picture}", url], name="chromium picture", memory=True)
            done = proc.wait(240)
            if done.timed_out or done.signal or done.code:
                raise Failed(f"{done.describe()}\n{proc.tail()}")
            with open(picture, "rb") as f:
                r.fact(f"picture {turn}", digest(f.read()))
    finally:
        server.shutdown()
        server.server_close()
