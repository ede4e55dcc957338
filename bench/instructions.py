#!/usr/bin/env python3
"""Instructions per operation, counted by callgrind.

Run     python3 bench/instructions.py [--build DIR] [--against DIR] [REGEX]
Needs   valgrind; the build of `cmake --preset bench`

A count does not depend on what else the machine does, which time does: this is the figure to compare two versions
by. Each operation runs twice, with few rounds and with more, in one process each; the difference of the
instructions divided by the difference of the operations is free of start, end and warming up. What a count does not
show: cache misses, mispredicted branches, and that a locked instruction costs as much as fifteen others.
"""
import argparse
import concurrent.futures
import os
import re
import subprocess
import sys

# operation of the probe, its SIZE, what the line is called
OPERATIONS = [
    ("yield", 2, "yield, 2 goroutines"),
    ("yield", 1000, "yield, 1000 goroutines"),
    ("spawn", 200, "spawn + run + exit, batches of 200"),
    ("spawn", 10_000, "spawn + run + exit, batches of 10,000"),
    ("spawn_one", 1000, "spawn, yield, run, exit: one at a time"),
    ("spawn_and_park", 1000, "spawn, park, wake, exit: 1000 parked at once"),
    ("semaphore_round_trip", 1000, "semaphore round trip: two hand-overs"),
    ("semaphore_free", 10_000, "semaphore acquire + release, free"),
    ("mutex_free", 10_000, "mutex lock + unlock, free"),
    ("wait_group_add_done", 10_000, "wait_group add + done"),
    ("chan_round_trip", 1000, "channel round trip, unbuffered"),
    ("chan_buffered", 10_000, "an item through a buffer of 100"),
    ("chan_buffered_4x4", 10_000, "the same, 4 producers and 4 consumers"),
    ("chan_ring", 100, "a hop in a ring of 100 goroutines"),
    ("select_buffered", 10_000, "select among 4 buffered, an item"),
    ("select_unbuffered", 2000, "select among 4 unbuffered, an item"),
    ("mutex_contended", 100, "mutex, 100 goroutines, a yield inside"),
    ("door", 10_000, "enter + leave"),
]
DEFAULT_BUILD = "build/bench/bench/probe"


def have_valgrind():
    return subprocess.run(["sh", "-c", "command -v valgrind"], stdout=subprocess.DEVNULL).returncode == 0


def count(probe, operation, rounds, size):
    """(instructions of the whole process, operations in its rounds)"""
    run = subprocess.run(
        ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", probe, operation, str(rounds), str(size)],
        capture_output=True, text=True)
    collected = re.search(r"Collected : (\d+)", run.stderr)
    if run.returncode != 0 or not collected:
        sys.exit(f"instructions: {operation} failed under valgrind:\n{run.stderr}")
    return int(collected.group(1)), int(run.stdout.split()[3])


def per_operation(probe, operation, size):
    few, more = 2, 6
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(count, probe, operation, few, size)
        second = pool.submit(count, probe, operation, more, size)
        (i1, n1), (i2, n2) = first.result(), second.result()
    return (i2 - i1) / (n2 - n1)


def enter_and_leave(probe):
    """The door's own instructions: a loop that calls a function with nothing but the door in it, less the same
    loop with an empty function."""
    return per_operation(probe, "door", 10_000) - per_operation(probe, "no_door", 10_000)


def measure(build, operation, size):
    probe = os.path.join(build, "probe")
    return enter_and_leave(probe) if operation == "door" else per_operation(probe, operation, size)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regex", nargs="?", default="", help="only lines whose name matches")
    parser.add_argument("--build", default=DEFAULT_BUILD, help=f"directory of the probe (default {DEFAULT_BUILD})")
    parser.add_argument("--against", help="the same of another version, shown beside it")
    args = parser.parse_args()
    if not have_valgrind():
        sys.exit("instructions: needs valgrind, which was not found (Debian: apt-get install valgrind)")
    print(f"{'instructions per operation':<48}{'now':>9}" + (f"{'against':>9}" if args.against else ""))
    for operation, size, name in OPERATIONS:
        if not re.search(args.regex, name):
            continue
        line = f"{name:<48}{measure(args.build, operation, size):>9.1f}"
        if args.against:
            line += f"{measure(args.against, operation, size):>9.1f}"
        print(line, flush=True)


if __name__ == "__main__":
    main()
