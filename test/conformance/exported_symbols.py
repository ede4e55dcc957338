"""fault_27: the shared library exports names of namespace weft, of its public part, and nothing else.

A runtime that exports a name of libc's or pthread's replaces that function in the program that loads it; one that exports
its insides makes them part of its interface. Usage: exported_symbols.py <build directory>
"""

import pathlib
import re
import subprocess
import sys

# Functions and data of weft::v0, and the type information of its types.
PUBLIC = re.compile(r"_Z(TV|TI|TS|GV)?N?K?N?K?4weft2v0")
# Instances of std templates: weak, and merged with the program's own, as with every C++ library.
STD_WEAK = re.compile(r"_Z(TV|TI|TS|GV)?N?K?(St|S[absiod]|9__gnu_cxx)|_ZN?K?St|_ZZ?NK?St")


def wrong(line):
    kind, name = line.split()[-2:]
    name = name.split("@")[0]
    if PUBLIC.match(name):
        return None
    if kind in "WVu" and STD_WEAK.match(name):
        return None
    return f"{kind} {name}"


def main():
    libraries = [p for p in pathlib.Path(sys.argv[1]).rglob("libweft.so*") if not p.is_symlink()]
    if len(libraries) != 1:
        sys.exit(f"exported_symbols: one libweft.so expected below {sys.argv[1]}, found {libraries}")
    lines = subprocess.run(
        ["nm", "-D", "--defined-only", str(libraries[0])], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    bad = [w for w in map(wrong, lines) if w]
    names = {line.split()[-1].split("@")[0] for line in lines}
    for needed in ("_ZN4weft2v06detail8run_mainE", "_ZN4weft2v06detail7newprocE", "_ZN4weft2v05yieldE"):
        if not any(n.startswith(needed) for n in names):
            bad.append(f"missing: {needed}")
    if bad:
        sys.exit("exported_symbols: not weft's to export:\n  " + "\n  ".join(bad))
    print(f"exported_symbols: {len(lines)} names, all weft's")


main()
