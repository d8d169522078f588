"""nginx under wrk: files, gzip, ssi, a proxy to itself; the configuration loaded again under load; ended gracefully."""

import gzip
import os
import pwd
import random
import re
import signal
import urllib.request

from harness import Failed, digest, free_port, wait_for

CONF = """
daemon off;
pid {dir}/nginx.pid;
error_log {dir}/error.log notice;
worker_processes 2;
worker_shutdown_timeout 5s;
{user}
events {{ worker_connections 512; }}
http {{
  default_type text/plain;
  access_log {dir}/access.log;
  client_body_temp_path {dir}/body;
  proxy_temp_path {dir}/proxy;
  fastcgi_temp_path {dir}/fastcgi;
  uwsgi_temp_path {dir}/uwsgi;
  scgi_temp_path {dir}/scgi;
  proxy_cache_path {dir}/cache keys_zone=c:1m;
  upstream self {{ server 127.0.0.1:{port}; keepalive 8; }}
  server {{
    listen 127.0.0.1:{port};
    root {dir}/www;
    keepalive_requests 200;
    location / {{ }}
    location /zip/ {{ alias {dir}/www/; gzip on; gzip_types *; gzip_min_length 10; }}
    location /ssi/ {{ alias {dir}/www/; ssi on; ssi_types *; }}
    location /proxy/ {{ proxy_pass http://self/; proxy_http_version 1.1; proxy_set_header Connection ""; }}
    location /cached/ {{ proxy_pass http://self/; proxy_cache c; proxy_cache_valid 1s; proxy_buffers 4 4k; }}
    location ~ ^/re/(\\w+)/(.*)$ {{ add_header X-One $1; rewrite ^/re/(\\w+)/(.*)$ /$2 break; }}
  }}
}}
"""

# path: requests of it in the quick form
PATHS = {"/small.txt": 4000, "/large.txt": 3000, "/zip/large.txt": 200, "/ssi/page.txt": 2000, "/proxy/large.txt": 1500,
         "/cached/small.txt": 4000, "/proxy/zip/large.txt": 200, "/re/abc/small.txt": 4000}

# wrk itself only knows how long to run, but every run must do the same work. Its main thread sleeps that long whatever
# the other does, so this one ends the process.
STOP = """
local wanted, seen, bad
function init(args) wanted, seen, bad = tonumber(args[1]), 0, 0 end
function response(status)
  seen = seen + 1
  if status ~= 200 then bad = bad + 1 end
  if seen == wanted then
    print(seen .. " responses, " .. bad .. " bad")
    io.stdout:flush()
    os.exit(bad == 0)
  end
end
"""


def prepare(r):
    rng = random.Random(5)
    os.makedirs(r.input("www"), exist_ok=True)
    for name, size in (("small.txt", 900), ("large.txt", 200_000), ("part.txt", 3000)):
        with open(r.input("www", name), "w", encoding="ascii") as f:
            f.write("".join(rng.choice("abcdefgh \n") for _ in range(size)))
    with open(r.input("www", "page.txt"), "w", encoding="ascii") as f:
        f.write("".join(f'<!--#set var="v{i}" value="{i}" --><!--#echo var="v{i}" --> <!--#include virtual="/part.txt" -->\n'
                        for i in range(10)))
    with open(r.input("stop.lua"), "w", encoding="ascii") as f:
        f.write(STOP)


def fetch(port, path):
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", headers={"Accept-Encoding": "gzip"})
    with urllib.request.urlopen(request, timeout=30) as reply:
        body = reply.read()
        if reply.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        return f"{reply.status} {digest(body)}"


def run(r):
    port = free_port()
    user = "user nobody nogroup;" if os.geteuid() == 0 else ""
    try:
        pwd.getpwnam("nobody")
    except KeyError:
        user = ""
    www = r.path("www")
    os.symlink(r.input("www"), www)
    with open(r.path("nginx.conf"), "w", encoding="ascii") as f:
        f.write(CONF.format(dir=r.dir, port=port, user=user))
    server = r.start(["nginx", "-c", r.path("nginx.conf"), "-e", "stderr"], memory=True)
    wait_for("nginx", lambda: fetch(port, "/small.txt"), proc=server)
    for path in PATHS:
        r.fact(path, fetch(port, path))
    rates = []
    for path, requests in PATHS.items():
        count = requests * r.size(1, 8)
        load = r.start(["wrk", "-t1", "-c24", "-d120s", "-s", r.input("stop.lua"), f"http://127.0.0.1:{port}{path}", "--",
                        str(count)], name="wrk " + path, preload=False, measured=False)
        if path.startswith("/proxy"):
            # New workers take over while the old ones finish what they have begun.
            for _ in range(3):
                server.send(signal.SIGHUP)
                fetch(port, path)
        done = load.wait(180)
        if done.code or "responses, 0 bad" not in done.out:
            raise Failed(f"wrk {path}: {done.describe()}\n{done.out}{done.err}{server.tail()}")
        rates.append(count / done.wall)
    for path in PATHS:
        r.fact(path + " after the load", fetch(port, path))
    server.stop(signal.SIGQUIT)
    r.peak(server.watch.peak_together)
    geometric = 1.0
    for rate in rates:
        geometric *= rate ** (1 / len(rates))
    r.note(f"{geometric:.0f} requests/s")
    with open(r.path("error.log"), encoding="utf-8", errors="replace") as f:
        bad = [line for line in f if re.search(r"\[(alert|emerg|crit)\]|exited on signal", line)]
    if bad:
        raise Failed("nginx's error log:\n" + "".join(bad[:20]))
