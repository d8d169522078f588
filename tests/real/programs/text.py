"""Everyday tools: sort with threads, awk's tables, bash, xz with threads (large blocks, freed and taken again)."""

import os
import random

from harness import digest, file_digest


def prepare(r):
    rng = random.Random(1)
    words = ["".join(rng.choice("abcdefghijklmnopqrstuvwxyz") for _ in range(rng.randint(2, 12))) for _ in range(5000)]
    with open(r.input("words.txt"), "w", encoding="ascii") as f:
        for i in range(r.size(150_000, 450_000)):
            f.write(f"{rng.choice(words)} {rng.randint(0, 99999)} {' '.join(rng.choices(words, k=rng.randint(0, 6)))}\n")


def run(r):
    words = r.input("words.txt")
    done = r.run(["sort", "--parallel=4", "-S", "16M", "-k2,2n", "-k1,1", words])
    r.fact("sort", digest(done.out))
    done = r.run(["mawk", "{ n[$1]++; for (i = 3; i <= NF; i++) s[$i] = s[$i] substr($1, 1, 1) } "
                  "END { for (k in n) print k, n[k], length(s[k]) }", words])
    r.fact("awk", digest("".join(sorted(done.out.splitlines(True)))))
    done = r.run(["bash", "-c", "declare -A n; while read -r a b rest; do (( n[$a] += b )); t+=(\"${rest%% *}\"); "
                  f"done < <(head -n {r.size(20000, 60000)} \"$1\"); for k in \"${{!n[@]}}\"; do echo \"$k ${{n[$k]}}\"; done"
                  " | sort; echo ${#t[@]}; x=\"${t[*]}\"; echo ${#x} \"${x//a/aa}\" | cksum", "bash", words])
    r.fact("bash", digest(done.out))
    packed = r.path("words.xz")
    with open(packed, "wb"):
        pass
    done = r.run(["sh", "-c", 'xz -T2 --block-size=2MiB -1 -c "$1" > "$2" && xz -dc -T2 "$2"', "sh", words, packed], name="xz")
    r.fact("xz", digest(done.out))
    r.fact("xz is the same file", file_digest(packed))
    os.unlink(packed)
