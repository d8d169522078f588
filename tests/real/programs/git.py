"""git over a generated history, and over this project's own: everything a repository goes through in its life.

Contents are compared, not packs.
"""

import os
import random

from harness import Failed, digest

HERE = os.path.dirname(os.path.abspath(__file__))
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
    try:
        # A copy: the repository may go on while this runs. It may also belong to somebody else than who runs this.
        r.run(["git", "-c", "safe.directory=*", "clone", "-q", "--mirror", "--no-local", os.path.join(HERE, "../../.."),
               r.input("own.git")])
    except Failed:
        pass  # a source archive, not a repository


class Repository:
    """git in one folder."""

    ENV = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_AUTHOR_NAME": "Q", "GIT_AUTHOR_EMAIL": "q@example.invalid",
           "GIT_COMMITTER_NAME": "Q", "GIT_COMMITTER_EMAIL": "q@example.invalid",
           "GIT_AUTHOR_DATE": "1700000000 +0000", "GIT_COMMITTER_DATE": "1700000000 +0000", "GIT_TERMINAL_PROMPT": "0"}

    def __init__(self, r, name):
        self.r, self.name, self.path = r, name, r.path(name)
        os.mkdir(self.path)

    def git(self, *args, **how):
        return self.r.run(["git", "-c", "pack.threads=2", "-c", "gc.auto=0", "-c", "advice.detachedHead=false", *args],
                          cwd=self.path, env=self.ENV, name=f"{self.name} {args[0]}", **how)

    def fact(self, key, *args):
        self.r.fact(f"{self.name} {key}", digest(self.git(*args).out))

    def blame(self, names, count, revision):
        for name in names[::max(1, len(names) // count)]:
            self.fact("blame " + name, "blame", "-w", "-C", revision, "--", name)


def run(r):
    generated(r)
    if os.path.isdir(r.input("own.git")):
        own(r)
    else:
        r.note("no repository here: only the generated history")


def generated(r):
    with open(r.input("files"), encoding="ascii") as f:
        files = f.read().split("\n")
    repo = Repository(r, "repo")
    git, fact = repo.git, repo.fact
    git("init", "-q", "-b", "main")
    git("fast-import", "--quiet", stdin=r.input("stream"))
    git("checkout", "-q", "-f", "main")
    fact("log --stat", "log", "--stat", "-M", "--format=%H %s", *(() if r.long else ("-n", "150")))
    fact("log -p", "log", "-p", "-n", str(r.size(80, 1500)))
    fact("log --graph", "log", "--graph", "--oneline", "--all")
    fact("shortlog", "shortlog", "-s", "main")
    repo.blame(files, r.size(4, 40), "main")
    fact("grep", "grep", "-n", "-E", "a[bc]d|nop", "main")
    fact("diff --stat", "diff", "--stat", "main~100", "main")
    git("fsck", "--full", "--strict")
    git("gc", "-q", *(["--aggressive"] if r.long else []), "--prune=now")
    git("repack", "-q", "-a", "-d", "-f", "--depth=20", "--window=20")
    git("fsck", "--full")
    fact("objects", "cat-file", "--batch-all-objects", "--batch-check")
    fact("archive", "archive", "--format=tar", "v200")
    # A change on two sides, merged and rebased.
    clone = Repository(r, "clone")
    clone.git("clone", "-q", "--no-local", repo.path, ".")
    clone.git("checkout", "-q", "-b", "left", "main~20")
    with open(os.path.join(clone.path, "left.txt"), "w", encoding="ascii") as f:
        f.write("left\n" * 1000)
    clone.git("add", "left.txt")
    clone.git("commit", "-q", "-m", "left")
    clone.git("merge", "-q", "-m", "merge", "origin/main")
    clone.fact("merged", "rev-parse", "HEAD^{tree}", "HEAD")
    clone.git("checkout", "-q", "-b", "right", "HEAD~1")
    clone.git("rebase", "-q", "origin/main")
    clone.fact("rebased", "rev-parse", "HEAD^{tree}")
    clone.fact("status", "status", "--porcelain")


def own(r):
    """A real repository: this one."""
    repo = Repository(r, "own")
    repo.git("clone", "-q", "--no-local", r.input("own.git"), ".")
    names = repo.git("ls-tree", "-r", "--name-only", "HEAD").out.split("\n")[:-1]
    repo.fact("log -p", "log", "--all", "--stat", "-M", "-C", "-p")
    repo.blame(names, r.size(4, 40), "HEAD")
    repo.fact("grep", "grep", "-n", "-E", "-w", "size_t|static", "HEAD")
    repo.git("repack", "-q", "-a", "-d", "-f", "--window=50", "--depth=50")
    repo.git("fsck", "--full", "--strict")
    repo.fact("objects", "cat-file", "--batch-all-objects", "--batch-check")
    repo.fact("archive", "archive", "--format=tar", "HEAD")
