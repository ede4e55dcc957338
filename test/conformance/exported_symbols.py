"""fault_27: the shared library exports what the public headers declare with WEFT_EXPORT, all of it and nothing else.

A runtime that exports a name of libc's or pthread's replaces that function in the program that loads it; one that exports
its insides makes them part of its interface. One that hides what it declares is found out by the user's linker only: what
is in weft::v0 but hidden lacks its WEFT_EXPORT.

Usage: exported_symbols.py <directory with one libweft.so in or below it; with its object files, if it is a build directory>
"""

import pathlib
import re
import subprocess
import sys

HEADERS = pathlib.Path(__file__).resolve().parents[2] / "include"
# Functions and data of weft::v0, and the type information of its types.
PUBLIC = re.compile(r"_Z(TV|TI|TS|GV)?N?K?N?K?4weft2v0")
# Instances of std templates: weak, and merged with the program's own, as with every C++ library.
STD_WEAK = re.compile(r"_Z(TV|TI|TS|GV)?N?K?(St|S[absiod]|9__gnu_cxx)|_ZN?K?St|_ZZ?NK?St")


def declared():
    """(functions and variables, classes) that stand behind WEFT_EXPORT in the public headers, by their last name."""
    plain, classes = set(), set()
    for header in sorted(HEADERS.rglob("*.hpp")):
        text = re.sub(r"//.*|^\s*#.*", "", header.read_text(), flags=re.MULTILINE)
        classes.update(re.findall(r"\b(?:class|struct)\s+WEFT_EXPORT\s+(\w+)", text))
        for words in re.findall(r"(?<!class )(?<!struct )\bWEFT_EXPORT\b([^;({]*)", text):
            plain.add(re.search(r"(~?\w+)\s*$", words)[1])
    if not plain or not classes:
        sys.exit(f"exported_symbols: no WEFT_EXPORT found in {HEADERS}")
    return plain, classes


def exports(library):
    """(kind, mangled name, the same as people read it, without parameters)"""
    lines = subprocess.run(
        ["nm", "-D", "--defined-only", str(library)], check=True, capture_output=True, text=True
    ).stdout.splitlines()
    found = [(line.split()[-2], line.split()[-1].split("@")[0]) for line in lines]
    read = subprocess.run(
        ["c++filt", "--no-params"], input="\n".join(name for _, name in found), check=True, capture_output=True, text=True
    ).stdout.splitlines()
    return [(kind, name, text) for (kind, name), text in zip(found, read, strict=True)]


def hidden(build):
    """Functions, data and type information of weft::v0 in the object files that no program can reach."""
    objects = sorted(build.rglob("*.o"))
    if not objects:
        sys.exit(f"exported_symbols: no object files below {build}")
    found = {}
    for line in subprocess.run(
        ["readelf", "--symbols", "--wide", *map(str, objects)], check=True, capture_output=True, text=True
    ).stdout.splitlines():
        words = line.split()
        if len(words) == 8 and words[5] == "HIDDEN" and words[6] != "UND" and PUBLIC.match(words[7]):
            # inline functions are weak and may be hidden; the type_info of an exception must not be
            if words[4] == "GLOBAL" or words[7].startswith("_ZTI"):
                found[words[7]] = None
    return list(found)


def main():
    libraries = [p for p in pathlib.Path(sys.argv[1]).rglob("libweft.so*") if not p.is_symlink()]
    if len(libraries) != 1:
        sys.exit(f"exported_symbols: one libweft.so expected below {sys.argv[1]}, found {libraries}")
    plain, classes = declared()
    bad, seen = [], set()
    symbols = exports(libraries[0])
    for kind, name, text in symbols:
        if kind in "WVu" and STD_WEAK.match(name):
            continue
        # "typeinfo for weft::v0::error", "weft::v0::sim::failure::failure", "weft::v0::yield"
        path = text.split(" for ")[-1].split("::")
        seen.add(path[-1])
        if not PUBLIC.match(name) or not (path[-1] in plain | classes or path[-2] in classes):
            bad.append(f"{kind} {name} ({text})")
    # A class that only inline functions use has no symbol here.
    bad += [f"missing: {name}, declared with WEFT_EXPORT" for name in sorted(plain - seen)]
    if (pathlib.Path(sys.argv[1]) / "CMakeCache.txt").exists():
        bad += [f"hidden: {name}, which is in weft::v0" for name in hidden(pathlib.Path(sys.argv[1]))]
    if bad:
        sys.exit("exported_symbols: not what the public headers declare:\n  " + "\n  ".join(bad))
    print(f"exported_symbols: {len(symbols)} names, all that is declared, nothing else")


main()
