#!/usr/bin/env python3
"""ptmalloc.py with many seeds of each kind of load."""
# timeout: 3600
# long
import os, runpy, sys

sys.argv = ["ptmalloc.py", "40"]
runpy.run_path(os.path.join(os.path.dirname(__file__), "ptmalloc.py"), run_name="__main__")
