"""The benchmark instrument, one concern a module.

paths, problem      where things lie; the one exception that ends in a clear line
build               compiles workloads, launcher, recorder
allocators          what can be measured, and how a program is put under it
catalogue, programs the workloads: our own, and real programs
runner              launches one program under one allocator and collects what it used
rounds              interleaves: every workload under every allocator, round by round
statistics          medians of ratios and their spread (knows nothing of files or processes)
results             the samples as CSV with the machine's description
report, verdict     tables; the targets Quarry is held to
plots               SVG by gnuplot
record              recording a program's calls
selftest            checks of all this, in seconds
cli                 the command line
"""
