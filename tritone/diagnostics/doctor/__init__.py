"""The doctor: small checks of everything a server needs, each one isolated and with a time limit.

    target.py                what is examined: folders, ports, a running server
    check.py                 a check, and what it finds
    checks/                  the checks that hold for every family of models, by subject
    catalogue.py             all of them, in the order in which they are shown
    isolated.py child.py     a process of its own for what may hang or crash
    file_faults.py elf.py    what is wrong with a file, what a library needs
    examine.py               runs the checks and repairs what is safe to repair
    report.py                table, JSON, exit status

Checks import only the standard library and the lean parts of this package: what they look for may
be exactly that an import breaks or hangs. psutil they import where they use it, and are left out
where it is missing. A family's own checks are in the module `doctor` of its folder; the command
hands them over, with its own.
"""
