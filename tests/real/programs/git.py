"""git over a generated history: everything a repository goes through in its life; contents compared, not packs."""

import os
import random

from harness import digest

WHO = "Q Uarry <q@example.invalid>"


def history(path, commits, seed=3):
    """A fast-import stream: files in folders, edits inside them, branches, merges, tags."""
    rng = random.Random(seed)
    words = ["".join(rng.choice("abcdefghijklmnop") for _ in range(rng.randint(2, 9))) for _ in range(800)]

    def text_line():
        return " ".join(rng.choices(words, k=rng.randint(1, 9)))
    files = {}
    with open(path, "w", encoding="ascii") as f:
        side = None
        for i in range(1, commits + 1):
            f.write(f"commit refs/heads/main\nmark :{i}\ncommitter {WHO} {1600000000 + i * 60} +0000\n")
            message = f"Change {i}: {text_line()}\n\n" + "\n".join(text_line() for _ in range(rng.randint(0, 5))) + "\n"
            f.write(f"data {len(message)}\n{message}")
            if side and side < i - 1:
                f.write(f"from :{i - 1}\nmerge :{side}\n")
                side = None
            for _ in range(rng.randint(1, 4)):
                if not files or (len(files) < 400 and rng.random() < 0.15):
                    name = f"{rng.choice(words)}/{rng.choice(words)}/{rng.choice(words)}.txt"
                    files.setdefault(name, [text_line() for _ in range(rng.randint(5, 400))])
                else:
                    name = rng.choice(list(files))
                lines = files[name]
                for _ in range(rng.randint(1, 6)):
                    at = rng.randrange(len(lines) + 1)
                    what = rng.random()
                    if what < 0.5 or not lines:
                        lines.insert(at, text_line())
                    elif what < 0.8:
                        lines[min(at, len(lines) - 1)] = text_line()
                    else:
                        del lines[min(at, len(lines) - 1)]
                body = "\n".join(lines) + "\n"
                f.write(f"M 100644 inline {name}\ndata {len(body)}\n{body}")
            f.write("\n")
            if i % 97 == 0:
                # A branch that touches one new file and is merged later.
                side = commits + i
                f.write(f"commit refs/heads/side-{i}\nmark :{side}\ncommitter {WHO} {1600000000 + i * 60 + 1} +0000\n"
                        f"data 5\nside\nfrom :{i}\nM 100644 inline side/{i}.txt\ndata 5\nside\n\n")
                side = None if i + 1 > commits else side
            if i % 200 == 0:
                f.write(f"tag v{i}\nfrom :{i}\ntagger {WHO} {1600000000 + i * 60} +0000\ndata 4\ntag\n\n")
    return sorted(files)


def prepare(r):
    files = history(r.input("stream"), r.size(500, 4000))
    with open(r.input("files"), "w", encoding="ascii") as f:
        f.write("\n".join(files))


def run(r):
    repo = r.path("repo")
    env = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Q", "GIT_AUTHOR_EMAIL": "q@example.invalid",
           "GIT_COMMITTER_NAME": "Q", "GIT_COMMITTER_EMAIL": "q@example.invalid",
           "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_TERMINAL_PROMPT": "0"}
    with open(r.input("files"), encoding="ascii") as f:
        files = f.read().split("\n")

    def git(*args, name=None, cwd=repo, **how):
        return r.run(["git", "-c", "pack.threads=2", "-c", "gc.auto=0", "-c", "advice.detachedHead=false", *args], cwd=cwd,
                     env=env, name=name or "git " + args[0], **how)

    def facts(*args, key=None):
        done = git(*args, name=key)
        r.fact(key or " ".join(args), digest(done.out))

    git("init", "-q", "-b", "main", repo, cwd=r.dir)
    git("fast-import", "--quiet", stdin=r.input("stream"))
    git("checkout", "-q", "-f", "main")
    facts("log", "--stat", "-M", "--format=%H %s", *(() if r.long else ("-n", "150")), key="log --stat")
    facts("log", "-p", "-n", str(r.size(80, 1500)), key="log -p")
    facts("log", "--graph", "--oneline", "--all", key="log --graph")
    facts("shortlog", "-s", "main", key="shortlog")
    for name in files[::max(1, len(files) // r.size(4, 40))]:
        facts("blame", "-w", "-C", "main", "--", name, key="blame " + name)
    facts("grep", "-n", "-E", "a[bc]d|nop", "main", key="grep")
    facts("diff", "--stat", "main~100", "main", key="diff --stat")
    git("fsck", "--full", "--strict")
    git("gc", "-q", *(["--aggressive"] if r.long else []), "--prune=now")
    git("repack", "-q", "-a", "-d", "-f", "--depth=20", "--window=20", name="git repack")
    git("fsck", "--full", name="git fsck again")
    done = git("cat-file", "--batch-all-objects", "--batch-check", name="git cat-file")
    r.fact("objects", digest(done.out))
    clone = r.path("clone")
    git("clone", "-q", "--no-local", repo, clone, cwd=r.dir)
    # A change on two sides, merged and rebased.
    git("checkout", "-q", "-b", "left", "main~20", cwd=clone, name="git checkout left")
    with open(os.path.join(clone, "left.txt"), "w", encoding="ascii") as f:
        f.write("left\n" * 1000)
    git("add", "left.txt", cwd=clone)
    git("commit", "-q", "-m", "left", cwd=clone)
    git("merge", "-q", "-m", "merge", "origin/main", cwd=clone)
    r.fact("merged", git("rev-parse", "HEAD^{tree}", "HEAD", cwd=clone, name="git rev-parse").out)
    git("checkout", "-q", "-b", "right", "HEAD~1", cwd=clone, name="git checkout right")
    git("rebase", "-q", "origin/main", cwd=clone)
    r.fact("rebased", git("rev-parse", "HEAD^{tree}", cwd=clone, name="git rev-parse 2").out)
    r.fact("status", git("status", "--porcelain", cwd=clone).out)
    facts("archive", "--format=tar", "v200", key="archive")
