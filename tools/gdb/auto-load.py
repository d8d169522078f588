"""gdb runs this as soon as it sees the library, whose path the one of this file ends with: share/gdb/auto-load/PATH-gdb.py."""
import runpy

runpy.run_path(__file__.split("/gdb/auto-load/")[0] + "/quarry/quarry-gdb.py", run_name="quarry-gdb")["register"]()
