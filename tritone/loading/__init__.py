"""Staged loading: every model loads in named steps that are reported, timed and watched.

catalogue.py   the steps: their limits, what may hold them up, the doctor's check
steps.py       `step` around a piece of work, and the loader that reports it
watchdog.py    stacks and a report for what takes too long
memory.py      what the process and the GPU hold
lines.py       a report as a line of a log, written and read
summary.py     reports as a table and as JSON

Code that loads something says so with `with step("flow weights", path):` and needs no loader; a
process that wants to see the steps enters a `Loader` around the call.
"""
