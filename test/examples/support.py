"""Runs one example as a child process and keeps what it printed.

The tests are started with the directory of the programs as first argument:
    python3 output_test.py build/release/examples [TestCase.test_name ...]
"""
import argparse
import os
import resource
import subprocess
import sys
import unittest

options = argparse.Namespace()

# For a child that hangs. No test waits for it to find out how fast something is.
TIMEOUT = 240


def environment(**variables):
    """The caller's, without variables that would configure the runtime, and with those given."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("WEFT_")}
    return {**kept, "LC_ALL": "C", **variables}


def program(name):
    return os.path.join(options.directory, name)


def start(name, *arguments, limits=(), **keywords):
    """limits: pairs (resource, value) for the child. It never leaves a core file."""

    def restrict():
        for what, value in ((resource.RLIMIT_CORE, 0), *limits):
            resource.setrlimit(what, (value, value))

    command = [keywords.pop("executable", program(name)), *arguments]
    keywords.setdefault("env", environment())
    keywords.setdefault("stdout", subprocess.PIPE)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, preexec_fn=restrict, **keywords)


def finish(child):
    try:
        out, err = child.communicate(timeout=TIMEOUT)
    except subprocess.TimeoutExpired:
        child.kill()
        out, err = child.communicate()
        raise AssertionError(f"{child.args} did not end within {TIMEOUT} s; stdout {out!r}, stderr {err!r}") from None
    return subprocess.CompletedProcess(child.args, child.returncode, out, err)


def run(name, *arguments, **keywords):
    return finish(start(name, *arguments, **keywords))


def expected(name):
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), name + ".expected"), "rb") as file:
        return file.read()


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("directory", help="where the example programs are")
    parser.add_argument("--small", action="store_true", help="for builds in which a goroutine costs much more")
    _, rest = parser.parse_known_args(namespace=options)
    options.directory = os.path.abspath(options.directory)
    unittest.main(module="__main__", argv=[sys.argv[0], *rest])
