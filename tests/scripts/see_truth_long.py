#!/usr/bin/env python3
"""see_truth.py with thousands of stops."""
# timeout: 3600
# builds: release
# long
import os, runpy, sys

sys.argv = ["see_truth.py", "800"]
runpy.run_path(os.path.join(os.path.dirname(__file__), "see_truth.py"), run_name="__main__")
