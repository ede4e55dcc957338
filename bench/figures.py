#!/usr/bin/env python3
"""The figures that the runtime promises, measured, beside their targets and beside Go.

Run     python3 bench/figures.py [--build DIR] [--rounds N] [--no-go] [REGEX]         or: ./x bench
Needs   the build of `cmake --preset bench`; go, valgrind and strace are used where they are installed

Everything runs in turn, several rounds of it, and the least value counts: what the machine does besides can only
make a figure larger. Where an operation never sleeps, the least CPU time is taken when it is below the least
time: on a machine with more work than CPUs no round of 100 ms goes by undisturbed. README.md has the method.
"""
import argparse
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time

import instructions

MISSING = "-"


class Figure:
    """What is measured, in which unit, and what it may be at most (None: no promise, shown for comparison)."""

    def __init__(self, name, target, unit, *probe, go=True, cpu=True, whole=False):
        self.name, self.target, self.unit, self.probe, self.go, self.cpu = name, target, unit, probe, go, cpu
        self.whole = whole  # CPU time of the process, of all threads and to its end, for each operation
        self.operations = None
        self.least = self.least_go = None

    def take(self, value):
        if self.least is None or value < self.least:
            self.least = value

    def take_go(self, value):
        if self.least_go is None or value < self.least_go:
            self.least_go = value

    def line(self):
        def show(value):
            return MISSING if value is None else f"{value:.0f}" if value >= 1000 or value == int(value) else f"{value:.1f}"
        verdict = ""
        if self.target is not None:
            verdict = "not run" if self.least is None else "ok" if self.least <= self.target else "MISS"
        return (f"{self.name:<46}{self.unit:>9}{show(self.target):>8}{show(self.least):>10}{show(self.least_go):>10}"
                f"  {verdict}").rstrip()


# operation of the probe, rounds within one process, SIZE, Ps
FIGURES = [
    Figure("yield between 2 goroutines", 15, "ns", "yield", 200, 2),
    Figure("yield between 1000 goroutines", 15, "ns", "yield", 200, 1000),
    Figure("  between 2 that run different loops", None, "ns", "yield_unlike", 200, 2, go=False),
    Figure("spawn + run + exit, batches of 10,000", 22, "ns", "spawn", 100, 10_000),
    Figure("spawn + run + exit, a million alive at once", 60, "ns", "spawn", 3, 1_000_000),
    Figure("  batches of 200", None, "ns", "spawn", 500, 200),
    Figure("  one at a time, with a yield", None, "ns", "spawn_one", 200, 1000),
    Figure("  1000 that park, each on its stack", None, "ns", "spawn_and_park", 100, 1000),
    # Go preempts the goroutine that spawns, so its goroutines are not all queued: nothing to compare with.
    Figure("a queued goroutine", 256, "bytes", "queued_bytes", 1, 1_000_000, go=False),
    Figure("  a parked goroutine", None, "bytes", "parked_bytes", 1, 100_000),
    Figure("semaphore round trip", 80, "ns", "semaphore_round_trip", 200, 1000),
    Figure("  with 2 Ps", None, "ns", "semaphore_round_trip", 200, 1000, 2, cpu=False),
    Figure("  acquire + release, free", None, "ns", "semaphore_free", 100, 10_000),
    Figure("mutex lock + unlock, free", 4.6, "ns", "mutex_free", 100, 10_000),
    Figure("wait_group add + done", None, "ns", "wait_group_add_done", 100, 10_000),
    Figure("hand-over between two locked goroutines", 3000, "ns", "locked_ping_pong", 50, 200, cpu=False),
    Figure("  with 2 Ps", 3000, "ns", "locked_ping_pong", 50, 200, 2, cpu=False),
    Figure("gomaxprocs, nobody else runs", 200_000, "ns", "gomaxprocs", 50, 20, cpu=False),
    Figure("  from 2 Ps to 3 and back", 200_000, "ns", "gomaxprocs", 50, 20, 2, cpu=False),
    Figure("on_big_stack, the call and nothing in it", 20, "ns", "on_big_stack", 100, 1000, go=False),
    Figure("class runtime, start + shutdown, 1 P", 100_000, "ns", "runtime_start_stop", 50, 5, go=False, cpu=False),
    Figure("  run from a plain thread", 50_000, "ns", "runtime_run", 50, 100, go=False, cpu=False),
    Figure("  submit + get, 1000 at once", 1000, "ns", "runtime_submit", 50, 1000, go=False, cpu=False),
    Figure("cancellation of 100,000 that wait, each", 3000, "ns", "cancel", 1, 100_000, go=False),
    Figure("channel round trip, unbuffered", 70, "ns", "chan_round_trip", 200, 1000),
    Figure("  with 2 Ps", 91, "ns", "chan_round_trip", 2000, 1000, 2, whole=True),
    Figure("an item through a buffer of 100", 15, "ns", "chan_buffered", 200, 10_000),
    Figure("  with 2 Ps", 19.5, "ns", "chan_buffered", 200, 10_000, 2, whole=True),
    Figure("  of 10", None, "ns", "chan_buffered_10", 200, 10_000),
    Figure("  of 100, 4 producers, 4 consumers", 20, "ns", "chan_buffered_4x4", 200, 10_000),
    Figure("  the same with 2 Ps", 26, "ns", "chan_buffered_4x4", 200, 10_000, 2, whole=True),
    Figure("a hop in a ring of 100 goroutines", 42, "ns", "chan_ring", 200, 100),
    Figure("  with 2 Ps", 54.6, "ns", "chan_ring", 200, 100, 2, whole=True),
    Figure("select among 4 buffered, an item", 45, "ns", "select_buffered", 200, 10_000),
    Figure("  with 2 Ps", 58.5, "ns", "select_buffered", 200, 10_000, 2, whole=True),
    Figure("select among 4 unbuffered, an item", 120, "ns", "select_unbuffered", 200, 2000),
    Figure("  with 2 Ps", 156, "ns", "select_unbuffered", 1000, 2000, 2, whole=True),
    Figure("mutex, 100 goroutines, a yield inside", 45, "ns", "mutex_contended", 50, 100),
    Figure("  with 2 Ps", 58.5, "ns", "mutex_contended", 200, 100, 2, whole=True),
    Figure("async().get()", 90, "ns", "async_get", 200, 1000, go=False),
    Figure("cancel of a context with 100,000 children, each", 60, "ns", "context_cancel", 10, 100_000, go=False),
    Figure("  each with a done channel", None, "ns", "context_cancel_done", 10, 100_000, go=False),
    Figure("  100,000 goroutines that wait, each", None, "ns", "context_cancel_waiting", 5, 100_000, go=False),
    Figure("a child context, made and dropped", None, "ns", "context_child", 100, 10_000, go=False),
    Figure("with", None, "ns", "with_context", 100, 10_000, go=False),
    Figure("semaphore round trip under a context", None, "ns", "semaphore_round_trip_with", 200, 1000, go=False),
    Figure("a look at a local", None, "ns", "local_get", 100, 10_000, go=False),
    Figure("skynet over channels, a leaf of a million", 180, "ns", "chan_skynet", 3, 1_000_000),
    Figure("parked on a channel: all of a goroutine", 5017, "bytes", "chan_parked_bytes", 1, 1_000_000),
    Figure("  its creation and first park", 3000, "ns", "chan_parked_creation", 1, 1_000_000),
    Figure("  woken by close, and its end", 200, "ns", "chan_parked_end", 1, 1_000_000),
    Figure("timer, set + stop", 40, "ns", "timer_set_stop", 100, 10_000, go=False),
    Figure("after_func, set + stop", 40, "ns", "func_set_stop", 100, 1, go=False),
    Figure("  with a million set", 50, "ns", "func_set_stop", 100, 1_000_000, go=False),
    Figure("  reset", None, "ns", "timer_reset", 100, 10_000, go=False),
    Figure("select with a limit, an item", None, "ns", "select_with_limit", 100, 10_000, go=False),
    Figure("sleep of 1 ms: late by, median", 80_000, "ns", "sleep_late", 3, 1000, 2, go=False, cpu=False),
    Figure("  of 100 us", 70_000, "ns", "sleep_late", 3, 100, 2, go=False, cpu=False),
    Figure("100,000 sleep up to 100 ms: CPU to wake all", 120e6, "ns", "sleepers_cpu", 2, 100_000, go=False, cpu=False),
    Figure("  late by, 99 of 100", 10e6, "ns", "sleepers_late", 2, 100_000, go=False, cpu=False),
    Figure("1000 ticks a second: CPU of a second", 8e6, "ns", "tick_cpu", 3, 1000, 2, go=False, cpu=False),
    Figure("1 ms at a time beside 3 loops: late, 99 of 100", 12e6, "ns", "beside_loops_99", 1, 3, 2, cpu=False),
    Figure("  at most", 15e6, "ns", "beside_loops_worst", 1, 3, 2, cpu=False),
    Figure("  a thread beside 3 threads, at most", None, "ns", "threads_beside_loops", 1, 3, go=False, cpu=False),
    Figure("  beside 200 loops, 99 of 100", None, "ns", "beside_loops_99", 1, 200, 2, cpu=False),
    Figure("  at most", 23e6, "ns", "beside_loops_worst", 1, 200, 2, cpu=False),
    Figure("  a thread beside 200 threads, at most", None, "ns", "threads_beside_loops", 1, 200, go=False, cpu=False),
    Figure("  beside 200 that go to sleep, at most", 3e6, "ns", "beside_sleepers_worst", 1, 200, 2, go=False, cpu=False),
    Figure("  beside 4 in calls of 5 ms, median", 300_000, "ns", "beside_calls_median", 1, 4, 2, go=False, cpu=False),
    Figure("  at most", 2e6, "ns", "beside_calls_worst", 1, 4, 2, go=False, cpu=False),
    Figure("a run of an exploration, 5 goroutines", 20_000, "ns", "explore", 100, 200, go=False),
]
DOOR = Figure("enter + leave", 6, "instr")
HELLO = Figure("hello, from fork to the end of wait", 2000, "us")
EMPTY_CXX = Figure("  an empty main that loads the C++ library", None, "us")
EMPTY = Figure("  an empty main", None, "us")
IDLE_CALLS = [Figure(f"idle, {n} P: system calls in 5 s", 0, "calls") for n in (1, 2)]
IDLE_CPU = [Figure(f"idle, {n} P: CPU time in 5 s", 0, "us") for n in (1, 2)]


def output_of(command):
    run = subprocess.run(command, capture_output=True, text=True)
    if run.returncode != 0:
        sys.exit(f"figures: {' '.join(map(str, command))} failed with {run.returncode}:\n{run.stdout}{run.stderr}")
    return run.stdout


def build_go(build):
    if shutil.which("go") is None:
        return None
    program = os.path.abspath(os.path.join(build, "go_probe"))
    source = os.path.join(os.path.dirname(os.path.abspath(__file__)), "go")
    run = subprocess.run(["go", "build", "-o", program, "."], cwd=source, capture_output=True, text=True)
    if run.returncode != 0:
        print(f"skipped: Go, its program was not built: {run.stderr.strip()}")
        return None
    return program


def measure_probe(figure, program, with_cpu):
    if figure.whole:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        shown = output_of([program, *map(str, figure.probe)]).split()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        if len(shown) > 3:  # weft's probe counts; Go's does the same
            figure.operations = int(shown[3])
        return (after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime) * 1e9 / figure.operations
    least, _, cpu = map(float, output_of([program, *map(str, figure.probe)]).split()[:3])
    return min(least, cpu) if with_cpu and cpu > 0 else least


def threads_of(pid):
    """For each thread of the process: nanoseconds on a CPU, switches, system call it is in."""
    threads = {}
    for tid in os.listdir(f"/proc/{pid}/task"):
        base = f"/proc/{pid}/task/{tid}/"
        with open(base + "schedstat") as f:
            on_cpu = int(f.read().split()[0])
        with open(base + "status") as f:
            switches = sum(int(n) for n in re.findall(r"ctxt_switches:\s*(\d+)", f.read()))
        threads[tid] = (on_cpu, switches)
    return threads


def idle_program(probe, ps):
    """One that is at rest: thieves have gone to sleep, and the watching thread has looked for a deadlock after 10 ms, 100 ms
    and a second; its next look is in 10 s, when threads that nobody has needed end, too."""
    program = subprocess.Popen([probe, "idle", "1", "1", str(ps)], stdout=subprocess.PIPE, text=True)
    program.stdout.readline()
    time.sleep(2)
    return program


def measure_idle(probe, ps, calls, cpu, seconds=5):
    """First watched from the outside, through /proc, which disturbs nothing; then, another one, by strace, which counts."""
    with idle_program(probe, ps) as program:
        try:
            before = threads_of(program.pid)
            time.sleep(seconds)
            after = threads_of(program.pid)
            cpu.take(sum(after[t][0] - before.get(t, (0, 0))[0] for t in after) / 1000)
            if after.keys() != before.keys() or any(after[t][1] != before[t][1] for t in after):
                print(f"idle with {ps} P: threads were switched in or came and went: {before} {after}")
        finally:
            program.kill()
    if shutil.which("strace") is None:
        return "strace (idle: system calls)"
    with idle_program(probe, ps) as program:
        try:
            threads = len(threads_of(program.pid))
            strace = subprocess.Popen(["strace", "-f", "-qq", "-p", str(program.pid)], stderr=subprocess.PIPE, text=True)
            time.sleep(seconds)
            strace.send_signal(signal.SIGINT)
            _, seen = strace.communicate()
            # Attaching interrupts what each thread sleeps in, and it is resumed: one line for each, which is ours.
            calls.take(max(0, len(seen.splitlines()) - threads))
        finally:
            program.kill()
    return None


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("regex", nargs="?", default="", help="only figures whose name matches")
    parser.add_argument("--build", default=instructions.DEFAULT_BUILD, help="directory of the probe")
    parser.add_argument("--rounds", type=int, default=7, help="how often everything runs in turn (default 7)")
    parser.add_argument("--no-go", action="store_true", help="without the comparison")
    args = parser.parse_args()

    def wanted(figure):
        return re.search(args.regex, figure.name) is not None

    def at(name):
        return os.path.join(args.build, name)

    skipped = []
    go = None if args.no_go else build_go(args.build)
    if go is None and not args.no_go:
        skipped.append("go (the column Go)")

    for n in range(args.rounds):
        print(f"round {n + 1} of {args.rounds}", file=sys.stderr, flush=True)
        for figure in filter(wanted, FIGURES):
            figure.take(measure_probe(figure, at("probe"), figure.cpu))
            if go and figure.go:
                figure.take_go(measure_probe(figure, go, figure.cpu))
        if wanted(HELLO) or wanted(EMPTY) or wanted(EMPTY_CXX):
            programs = [at("hello"), at("empty"), at("empty_cxx")] + ([go] if go else [])
            least = [float(line.split()[0]) for line in output_of([at("launch"), "200", *programs]).splitlines()]
            HELLO.take(least[0])
            EMPTY.take(least[1])
            EMPTY_CXX.take(least[2])
            if go:
                HELLO.take_go(least[3])
    for ps, calls, cpu in zip((1, 2), IDLE_CALLS, IDLE_CPU):
        if wanted(calls) or wanted(cpu):
            skipped.append(measure_idle(at("probe"), ps, calls, cpu))
    if wanted(DOOR):
        if instructions.have_valgrind():
            DOOR.take(instructions.enter_and_leave(at("probe")))
        else:
            skipped.append("valgrind (enter + leave)")

    everything = [f for f in [*FIGURES, *IDLE_CALLS, *IDLE_CPU, HELLO, EMPTY_CXX, EMPTY, DOOR] if wanted(f)]
    print(f"{'figure':<46}{'unit':>9}{'target':>8}{'least':>10}{'Go':>10}")
    for figure in everything:
        print(figure.line())
    for tool in sorted({s for s in skipped if s}):
        print(f"skipped, not installed: {tool}")
    missed = [f.name.strip() for f in everything if f.line().endswith("MISS")]
    if missed:
        print(f"missed: {'; '.join(missed)}")


if __name__ == "__main__":
    main()
