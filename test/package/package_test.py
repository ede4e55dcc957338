"""weft as its users get it: installed, moved, found again, linked and run; or as a part of somebody else's build.

Usage: package_test.py <case> --library <compiler>_<form> [option...]
The work directory holds a directory per library: the installed tree, moved from where it was installed to, and the build
directories of the consumers. Cases that use an installed tree need the case `install` first (a fixture in ctest).
"""
import argparse
import os
import pathlib
import re
import shutil
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OUTPUT = "sum of squares: 328350\nbad options: refused\nlost update: found\n"
# A C++ program's own; in older C libraries threads and dl are apart. libdw above all is not among them.
SYSTEM = re.compile(r"(libstdc\+\+|libgcc_s|libc|libm|libpthread|libdl|ld-linux-x86-64)\.so\.\d+")
# For a child that hangs. No test waits for it to find out how fast something is.
TIMEOUT = 300

options = argparse.Namespace()


def fail(text):
    sys.exit(f"package_test: {text}")


def environment(**variables):
    """What finds packages and sets flags comes from the case alone."""
    foreign = re.compile(r"WEFT_.*|PKG_CONFIG.*|CMAKE_.*|LD_LIBRARY_PATH|(C|CXX|CPP|LD|ASM)FLAGS|CC|CXX|LDLIBS|MAKE.*|DESTDIR")
    return {**{k: v for k, v in os.environ.items() if not foreign.fullmatch(k)}, "LC_ALL": "C", **variables}


def call(*command, wrong=False, **variables):
    """Runs it and returns what it printed. Its failure is ours, unless it is wanted (wrong)."""
    command = [str(word) for word in command]
    print("+", *command, flush=True)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              env=environment(**variables), timeout=TIMEOUT)
    except subprocess.TimeoutExpired as late:
        fail(f"did not end within {TIMEOUT} s; it printed:\n{late.stdout}")
    if (done.returncode != 0) != wrong:
        fail(f"exit status {done.returncode}, it printed:\n{done.stdout}")
    return done.stdout


def shared():
    return options.library.endswith("_shared")


def work():
    return options.work / options.library


def prefix():
    return work() / "moved" / "to a place"


def below(directory):
    return {str(p.relative_to(directory)) for p in directory.rglob("*") if not p.is_dir()}


def only(pattern, tree=None):
    """The one file or directory of an installed tree that matches; lib is lib64 on some systems."""
    tree = tree or prefix()
    found = list(tree.glob(pattern))
    if len(found) != 1:
        fail(f"one {pattern} expected in {tree}, found {found}")
    return found[0]


def dynamic(file, tag):
    """The values of a tag (NEEDED, SONAME) in the dynamic section."""
    return re.findall(rf"\({tag}\).*\[(.*)\]", call("readelf", "--dynamic", "--wide", file))


def configure(source, build, *arguments, **keywords):
    """A fresh configuration: an old cache could hide that something is not found any more."""
    (build / "CMakeCache.txt").unlink(missing_ok=True)
    return call("cmake", "-S", source, "-B", build, "-G", options.generator, f"-DCMAKE_CXX_COMPILER={options.compiler}",
                *arguments, **keywords)


def sonames():
    major, minor, _ = options.version.split(".")
    return f"libweft.so.{major}.{minor}", f"libweft.so.{options.version}"


def check_program(program, weft=None):
    """weft: where the shared library is, if the program does not know."""
    printed = call(program, **({"LD_LIBRARY_PATH": str(weft)} if weft else {}))
    if printed != OUTPUT:
        fail(f"{program} printed:\n{printed}expected:\n{OUTPUT}")


def check_needed(file, *others):
    """Beside the system's libraries it needs the others, all of them and no more."""
    needed = dynamic(file, "NEEDED")
    if foreign := [n for n in needed if not SYSTEM.fullmatch(n) and n not in others]:
        fail(f"{file} needs {foreign}")
    if missing := set(others) - set(needed):
        fail(f"{file} does not need {missing}")


def case_install():
    """--build: a build directory in which the library is built; without it, one is made here."""
    build = options.build
    if build is None:
        build = work() / "library"
        configure(ROOT, build, f"-DCMAKE_ASM_COMPILER={options.compiler}", "-DCMAKE_BUILD_TYPE=Release",
                  f"-DBUILD_SHARED_LIBS={'ON' if shared() else 'OFF'}", "-DWEFT_BUILD_TESTS=OFF",
                  "-DWEFT_BUILD_EXAMPLES=OFF", "-DWEFT_BUILD_BENCH=OFF")
    call("cmake", "--build", build, "--target", "weft")
    first = work() / "installed"
    for directory in (first, prefix()):
        shutil.rmtree(directory, ignore_errors=True)
    call("cmake", "--install", build, "--prefix", first)
    prefix().parent.mkdir(exist_ok=True)
    first.rename(prefix())

    library = check_installed(prefix(), "release")
    for name in sorted(below(prefix())):
        file = prefix() / name
        if file.suffix in (".cmake", ".pc"):
            text = file.read_text()
            for place in (first, build, ROOT):
                if str(place) in text:
                    fail(f"{name} names {place}: it would be lost when the tree is moved")
            if re.search("elfutils|libdw", text, re.IGNORECASE):
                fail(f"{name} names libdw, which no consumer needs")

    if shared():
        if (soname := dynamic(library, "SONAME")) != [sonames()[0]]:
            fail(f"the SONAME is {soname}, expected {sonames()[0]}")
        check_needed(library)
        print(call(sys.executable, "-B", ROOT / "test/conformance/exported_symbols.py", prefix()), end="")


def check_installed(tree, build_type):
    """Its files are those that they should be; returns the library."""
    found = below(tree)
    lib = str(only("lib*", tree).relative_to(tree))
    wanted = {f"include/{name}" for name in below(ROOT / "include")}
    wanted |= {f"{lib}/{name}" for name in ("libweft.so", *sonames())} if shared() else {f"{lib}/libweft.a"}
    wanted |= {f"{lib}/cmake/weft/{name}.cmake"
               for name in ("weftConfig", "weftConfigVersion", "weftTargets", f"weftTargets-{build_type}")}
    wanted |= {f"{lib}/pkgconfig/weft.pc"}
    if found != wanted:
        fail(f"installed, but not wanted: {sorted(found - wanted)}; wanted, but not installed: {sorted(wanted - found)}")
    return tree / lib / ("libweft.so" if shared() else "libweft.a")


def consumer(name, *arguments):
    """Configures and builds a consumer of the installed tree; returns its build directory."""
    build = work() / f"{name}_{pathlib.Path(options.compiler).name}"
    configure(HERE / name.split("-")[0], build, f"-DCMAKE_PREFIX_PATH={prefix()}", "-DCMAKE_BUILD_TYPE=Release", *arguments)
    cache = (build / "CMakeCache.txt").read_text()
    if f"weft_DIR:PATH={only('lib*/cmake/weft')}\n" not in cache:
        fail(f"another weft was found: {re.findall('weft_DIR.*', cache)}")
    call("cmake", "--build", build, "--clean-first")
    return build


def weft_needed():
    return [sonames()[0]] if shared() else []


def case_find_package():
    build = consumer("find_package")
    for program in ("mine", "strict"):
        check_program(build / program)
        check_needed(build / program, *weft_needed())


def case_lto():
    build = consumer("find_package-lto", "-DCMAKE_INTERPROCEDURAL_OPTIMIZATION=ON")
    check_program(build / "mine")


def case_shared_object():
    build = consumer("shared_object")
    check_program(build / "mine")
    check_needed(build / "mine")


def case_wrong_version():
    """CMake's message, and no other, for each version that this one cannot stand for."""
    major, minor, patch = map(int, options.version.split("."))
    source, build = work() / "wrong_version", work() / "wrong_version" / "build"
    shutil.rmtree(source, ignore_errors=True)
    source.mkdir()
    wrong = [(major, minor + 1), (major, minor, patch + 1), (major + 1, 0)] + ([(major, minor - 1)] if minor > 0 else [])
    for version in (".".join(map(str, v)) for v in wrong):
        (source / "CMakeLists.txt").write_text(
            "cmake_minimum_required(VERSION 3.25)\nproject(mine LANGUAGES CXX)\n"
            f"find_package(weft {version} REQUIRED)\n")
        printed = " ".join(configure(source, build, f"-DCMAKE_PREFIX_PATH={prefix()}", wrong=True).split())
        for text in (f'Could not find a configuration file for package "weft" that is compatible with requested version "{version}"',
                     f"version: {options.version}"):
            if text not in printed:
                fail(f"asked for {version}, CMake did not say '{text}' but:\n{printed}")


def case_pkg_config():
    pc = only("lib*/pkgconfig")
    build = work() / f"pkg_config_{pathlib.Path(options.compiler).name}"
    shutil.rmtree(build, ignore_errors=True)
    build.mkdir()
    ask = ["pkg-config"] + ([] if shared() else ["--static"])
    asked = {"PKG_CONFIG_PATH": str(pc)}
    if (version := call("pkg-config", "--modversion", "weft", **asked).strip()) != options.version:
        fail(f"weft.pc says version {version}, expected {options.version}")
    # What the archive needs is for those who link it; a shared library names it itself.
    if "-pthread" in call("pkg-config", "--libs", "weft", **asked).split():
        fail("weft.pc hands -pthread to who links the shared library")
    if not shared() and "-pthread" not in call(*ask, "--libs", "weft", **asked).split():
        fail("weft.pc hands no -pthread to who links the static library")
    call("make", "-C", build, "-f", HERE / "pkg_config/Makefile", f"CXX={options.compiler}", f"PKG_CONFIG={' '.join(ask)}",
         "mine", **asked)
    check_program(build / "mine", weft=pc.parent if shared() else None)
    check_needed(build / "mine", *weft_needed())


def part(name, *arguments):
    """weft as a part of another build, unoptimized as while a program is written."""
    build = work() / name
    configure(HERE / name, build, "-DCMAKE_BUILD_TYPE=Debug", f"-DBUILD_SHARED_LIBS={'ON' if shared() else 'OFF'}",
              *arguments)
    call("cmake", "--build", build)
    check_program(build / "mine")
    check_needed(build / "mine", *weft_needed())
    # Nobody asked for weft's install rules; then the parent does.
    for directory in ("nothing", "asked"):
        shutil.rmtree(build / directory, ignore_errors=True)
    call("cmake", "--install", build, "--prefix", build / "nothing")
    if (build / "nothing").exists() and below(build / "nothing"):
        fail(f"the parent's install brought {below(build / 'nothing')}")
    configure(HERE / name, build, "-DCMAKE_BUILD_TYPE=Debug", f"-DBUILD_SHARED_LIBS={'ON' if shared() else 'OFF'}",
              "-DWEFT_INSTALL=ON", *arguments)
    call("cmake", "--install", build, "--prefix", build / "asked")
    check_installed(build / "asked", "debug")


def case_add_subdirectory():
    part("add_subdirectory", f"-DWEFT_TREE={ROOT}")


def case_fetch_content():
    part("fetch_content", f"-DFETCHCONTENT_SOURCE_DIR_WEFT={ROOT}", "-DFETCHCONTENT_FULLY_DISCONNECTED=ON")


def main():
    cases = {name.removeprefix("case_"): function for name, function in globals().items() if name.startswith("case_")}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=cases)
    parser.add_argument("--library", required=True, help="gcc_static, gcc_shared, clang_static or clang_shared")
    parser.add_argument("--compiler", required=True, help="of the consumer; with install: of the library")
    parser.add_argument("--work", required=True, type=pathlib.Path)
    parser.add_argument("--version", required=True, help="the one that is installed")
    parser.add_argument("--generator", default="Ninja")
    parser.add_argument("--build", type=pathlib.Path, help="where the library is built already (install)")
    parser.parse_args(namespace=options)
    if not re.fullmatch(r"(gcc|clang)_(static|shared)", options.library):
        parser.error(f"no such library: {options.library}")
    options.work = options.work.resolve()
    work().mkdir(parents=True, exist_ok=True)
    cases[options.case]()
    print(f"package_test: {options.case} {options.library}: ok")


main()
