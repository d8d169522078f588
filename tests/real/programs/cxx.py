"""A C++ program that uses every form of operator new and delete, and the containers over them, from several threads."""

import os

from harness import Failed

DATA = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "data")


def prepare(r):
    r.run(["g++", "-std=c++20", "-O1", "-g", "-pthread", "-fsized-deallocation", "-Wno-alloc-size-larger-than",
           os.path.join(DATA, "every_new.cpp"), "-o", r.input("every_new")])


def run(r):
    done = r.run([r.input("every_new"), str(r.size(40, 6000))], timeout=300)
    if "all forms used" not in done.out:
        raise Failed("the program did not reach its end\n" + done.out[-2000:])
    r.fact("output", done.out)
    r.fact("errors", done.err)
