"""Finds a Python with PyTorch: this one, that of the virtual environment of `servers.py install`, or the system's."""

import os
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# Distributed checkpoints without a process group came with 2.2.
OLDEST = (2, 2)
WORKS = f"import torch; assert tuple(map(int, torch.__version__.split('.')[:2])) >= {OLDEST}"
MARK = "BECALM_TORCH_PYTHON"
SYSTEM = "/usr/bin/python3"


class NoTorch(Exception):
    """No Python here has it; the text says so."""


def venvs():
    """The virtual environments of the end-to-end runs, the one asked for first."""
    found = [os.environ.get("BECALM_E2E_VENV"), os.path.join(os.path.dirname(HERE), ".build-e2e")]
    return [directory for directory in found if directory]


def works(python, needs=WORKS):
    """Whether this Python can do what `needs` says."""
    return os.access(python, os.X_OK) and not subprocess.run(
        [python, "-W", "ignore", "-c", needs], stdin=subprocess.DEVNULL, capture_output=True).returncode


def find():
    """The path of a Python with PyTorch; raises `NoTorch`."""
    places = [*(os.path.join(directory, "bin", "python") for directory in venvs()), sys.executable, SYSTEM]
    for place in dict.fromkeys([os.environ.get(MARK, ""), *places]):
        if place and works(place):
            return place
    raise NoTorch("no Python here has PyTorch 2.2 or newer: `servers.py install DIR` gets it")


def become():
    """Runs this script by a Python with PyTorch, unless it is run by one already; raises `NoTorch`."""
    if MARK in os.environ:
        return  # it was looked for already
    python = find()
    if not os.path.samefile(python, sys.executable) or os.path.dirname(python) != os.path.dirname(sys.executable):
        os.environ[MARK] = python
        os.execv(python, [python, *sys.argv])
