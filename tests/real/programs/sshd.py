"""sshd: logins with a key, files through ssh and sftp. Before a login it puts a filter of system calls upon itself, which ends it for any that is
not in its list."""

import os
import pwd
import random

from harness import Failed, Skipped, digest, file_digest, free_port, wait_for

SSHD = "/usr/sbin/sshd"

CONF = """
ListenAddress 127.0.0.1
Port {port}
HostKey {host}
AuthorizedKeysFile {key}.pub
PidFile none
StrictModes no
UsePAM no
PasswordAuthentication no
PermitRootLogin prohibit-password
LogLevel VERBOSE
Subsystem sftp internal-sftp
"""


def prepare(r):
    for name in ("host", "key"):
        if not os.path.exists(r.input(name)):
            r.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", r.input(name)], preload=False)
    with open(r.input("data"), "wb") as f:
        f.write(random.Random(8).randbytes(3_000_000))


def run(r):
    port = free_port()
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", mode=0o755, exist_ok=True)
    with open(r.path("sshd.conf"), "w", encoding="ascii") as f:
        f.write(CONF.format(port=port, host=r.input("host"), key=r.input("key")))
    server = r.start([SSHD, "-D", "-e", "-f", r.path("sshd.conf")], memory=True)
    wait_for("sshd", lambda: "Server listening" in server.tail(), proc=server)
    how = ["-F", "none", "-o", "UserKnownHostsFile=/dev/null", "-o", "StrictHostKeyChecking=no", "-o", "BatchMode=yes", "-i", r.input("key")]
    who = pwd.getpwuid(os.geteuid()).pw_name + "@127.0.0.1"

    def ssh(command):
        done = r.run(["ssh", *how, "-p", str(port), who, command], ok=None)
        if done.code:
            trouble = f"ssh {command}: {done.describe()}\n{done.err[-1000:]}{server.tail()}"
            raise Failed(trouble) if r.preloaded else Skipped(trouble)
        return done.out

    for i in range(r.size(3, 60)):
        r.fact(f"login {i}", ssh(f"echo {i}"))
    r.fact("through ssh", digest(ssh(f"base64 {r.input('data')}").encode()))
    batch = r.path("batch")
    with open(batch, "w", encoding="ascii") as f:
        f.write(f"put {r.input('data')} {r.path('there')}\nget {r.path('there')} {r.path('back')}\n")
    r.run(["sftp", *how, "-P", str(port), "-b", batch, who])
    r.fact("through sftp", file_digest(r.path("back")))
    server.stop(ok=(0, 255))
    r.peak(server.watch.peak_together)
