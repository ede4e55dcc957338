"""Trees of files, and what sha256sum says of them: for the examples that hash whole directories."""
import itertools
import os
import subprocess

import support


def regular_files(directory):
    """Paths as hash_tree makes them. Errors are raised: a test that compares less than it means to is worth nothing."""
    found, pending = [], [directory]
    while pending:
        here = pending.pop()
        for entry in os.scandir(here):
            path = here + (b"" if here.endswith(b"/") else b"/") + entry.name
            if entry.is_dir(follow_symlinks=False):
                pending.append(path)
            elif entry.is_file(follow_symlinks=False):
                found.append(path)
    return found


def sha256sum(paths, cwd=None):
    """The lines of coreutils for these files, in the order of the bytes of the paths."""
    paths = sorted(paths)
    out = b""
    for i in range(0, len(paths), 200):
        out += subprocess.run([b"sha256sum", b"--", *paths[i:i + 200]], cwd=cwd, check=True, stdout=subprocess.PIPE,
                              timeout=support.TIMEOUT).stdout
    return out


def write(path, content=b"x"):
    with open(path, "wb") as file:
        file.write(content)


def same(case, got, wanted):
    """Names the first difference. assertEqual would look for the smallest, for hours in a long text."""
    if got != wanted:
        for i, (a, b) in enumerate(itertools.zip_longest(got.split(b"\n"), wanted.split(b"\n")), 1):
            case.assertEqual(a, b, f"line {i}")
