#!/usr/bin/env python3
"""see_damage.py with thousands of wounds."""
# timeout: 3600
# builds: asan
# long
import os, runpy, sys

sys.argv = ["see_damage.py", "1000"]
runpy.run_path(os.path.join(os.path.dirname(__file__), "see_damage.py"), run_name="__main__")
