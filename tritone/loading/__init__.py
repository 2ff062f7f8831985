"""Staged loading: every model loads in named steps that are reported, timed and watched.

Code that loads something says so with `with step("flow weights", path):` and needs no loader; a
process that wants to see the steps enters a `Loader` around the call.
"""
