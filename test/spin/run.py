#!/usr/bin/env python3
"""Searches one spin model completely, in all its cases, and then each of its mutations.

    run.py dance [--clean | --mutations [--part K/N]] [--only NAME] [--keep DIR]

The test suite does --clean on every run; ./x plant does the mutations.

The model as it is must be clean, and each search complete. A mutation (a guard line taken out by -D) must be found; or,
where the table says that something else carries the load, must be clean: then the reason in the table stays true. Anything
else fails, with the steps that lead there.
"""
import argparse
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
LIMIT_S = 150  # of one search, however busy the machine is; docs/internals/spin-models.md says what they take alone


@dataclasses.dataclass(frozen=True)
class Mutation:
    name: str        # a -D of the model
    case: str        # where it is looked for
    what: str
    carried: str = ""  # not empty: it is not found, because of this


@dataclasses.dataclass(frozen=True)
class Model:
    cases: dict      # name -> -D options
    mutations: list


M = Mutation
MODELS = {
    "dance": Model(
        cases={
            "submitter": "SHAPE=0 NM=4",
            "submitter_tso": "SHAPE=0 NM=4 TSO",
            "chain": "SHAPE=1",
            "chain_tso": "SHAPE=1 TSO",
            "handoff": "SHAPE=2",
            "handoff_tso": "SHAPE=2 TSO",
            "foreign": "SHAPE=3 NM=4",
            "foreign_tso": "SHAPE=3 NM=4 TSO",
            "refused": "SHAPE=2 REFUSE",
            "refused_tso": "SHAPE=1 REFUSE TSO",
        },
        mutations=[
            M("NO_RECHECK", "submitter", "the last spinner does not look again"),
            M("LOOK_FIRST", "submitter", "it looks before its count is down (P3 above P1)"),
            M("NO_RECHECK_GLOBAL", "foreign", "its second look leaves out the global queue",
              "stopm looks there once more under the lock"),
            M("NO_RECHECK_GLOBAL NO_LOOK_STOPM", "foreign", "neither does"),
            M("NO_FENCE_S", "submitter_tso", "no barrier in claim_wake (S2)"),
            M("NO_FENCE_B", "submitter_tso", "no barrier in begin_spinning",
              "what the look missed, the second look (P1 to P3) finds, or the successor that is woken"),
            M("CLEAR_LATE", "submitter", "a spinner clears needspinning after its look at the queues",
              "as NO_FENCE_B"),
            M("DEC_OUTSIDE", "submitter", "a claim is given back outside the lock (RELIABILITY, bug 27)"),
            M("NEED_FIRST", "chain", "needspinning is set before the claim is given back"),
            M("NO_SUCCESSOR", "submitter", "a spinner that has found work wakes no successor"),
            M("NEED_ALONE", "submitter", "the short cut of claim_wake does not ask for idle Ps"),
            M("NO_NEED_SET", "submitter", "needspinning is never set"),
            M("NO_NEED_FIND", "submitter", "find_runnable does not look at needspinning"),
            M("NO_NEED_HANDOFF", "handoff", "handoffp does not look at needspinning"),
            M("NO_QUEUE_HANDOFF", "handoff", "handoffp does not look at the queue of its P"),
            M("NO_LAST_HANDOFF", "handoff", "handoffp does not ask whether it has the last P that could look",
              "needspinning: whoever found no idle P has set it, and whoever comes later finds this one"),
            M("NO_GLOBAL_HANDOFF", "foreign", "handoffp does not look at the global queue under the lock",
              "who puts work there wakes somebody after it, or sets needspinning; not so rejoin: revoke.pml, NO_LOOK_HANDOFF"),
            M("NO_GLOBAL_FIND", "foreign", "find_runnable does not look at the global queue under the lock",
              "as NO_GLOBAL_HANDOFF; revoke.pml, NO_LOOK_FIND"),
            M("NO_LOOK_STOPM", "refused", "stopm does not look for a P that was laid down for want of a thread"),
            M("GIVE_BACK_OUTSIDE", "refused", "no_thread_for gives a claim back outside the lock",
              "without threads there is no promise but that work is done in the end, and its own M does that"),
        ],
    ),
    "revoke": Model(
        cases={
            "two": "CALLS=3",
            "late": "LATE",
            "blocking": "BLOCKING",
            "again": "BLOCKING TRIES=2",
        },
        mutations=[
            M("NO_GENERATION", "two", "the revoke word has no generation"),
            M("NO_MEMBARRIER", "two", "R2 is left out"),
            M("NO_E2", "two", "the compiler swaps E1 and E3"),
            M("P_BEFORE", "late", "the revoker takes the P that it saw before R1"),
            M("NO_RECHECK", "two", "R3 does not look at in_runtime"),
            M("UNDO_STORE", "two", "the slow path undoes `pending` by a store"),
            M("UNDO_BLIND", "again", "R3 undoes `pending` by a store, whosever it is"),
            M("CHECK_EARLY", "two", "the slow path looks at m.p before it has the lock"),
            M("TAKE_LATE", "two", "R3 takes the P in another critical section than its CAS"),
            M("NOT_TIED", "two", "who dequeues the goroutine runs it"),
            M("QUEUE_LATE", "two", "rejoin queues in another critical section than it looks for an idle P"),
            M("NO_LOOK_HANDOFF", "two", "handoffp does not look at the global queue under the lock"),
            M("NO_LOOK_FIND", "two", "find_runnable does not look at the global queue under the lock"),
            M("BLOCKING_STORE", "again", "`blocking` loads the word and stores it, instead of an exchange",
              "R3 under sched.lock, which rejoin takes, too: an old revoker's CAS comes before the next `none`"),
            M("LOOK_UNLOCKED", "again", "R3 looks at in_runtime before it has the lock",
              "the generation, as long as `blocking` exchanges the word"),
        ],
    ),
    "park": Model(
        cases={
            "goroutine": "WAITS=3",
            "thread": "WAITS=3 THREAD",
        },
        mutations=[
            M("SAVE_LATE", "goroutine", "waiting, and the commit, before the context is saved"),
            M("COMMIT_EARLY", "goroutine", "the commit before the status"),
            M("NO_SCAN_WAIT", "goroutine", "wake does not wait for the scan bit"),
            M("NO_SEQ", "goroutine", "a timeout does not check the sequence"),
            M("NO_SCAN", "goroutine", "a timeout does not lock the status"),
            M("NO_TAKER_RULE", "goroutine", "a timeout readies without asking whether the sudog is still queued"),
            M("READY_LOCKED", "goroutine", "a waker readies under the bucket's lock"),
            M("READY_SCANNED", "goroutine", "a timeout readies before it gives the scan bit back"),
            M("GIVE_UP_LOCKED", "goroutine", "a timeout that finds the status locked gives up"),
            M("NO_FUTEX_WAKE", "thread", "a thread is not woken after its status"),
            M("NO_SCAN_MASK", "thread", "a waiting thread takes the scan bit for its wake-up"),
        ],
    ),
}


class Failure(Exception):
    pass


def command(*arguments, cwd):
    done = subprocess.run(arguments, cwd=cwd, capture_output=True, text=True, timeout=LIMIT_S)
    if done.returncode != 0:
        raise Failure(f"{' '.join(arguments)}: exit status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


@dataclasses.dataclass(frozen=True)
class Outcome:
    error: str       # empty: none
    complete: bool
    states: int
    seconds: float


def search(model, options, where):
    """One search, up to its end or to the first error. The files stay in `where`, for the trail."""
    shutil.copy(HERE / f"{model}.pml", where)
    defines = [f"-D{o}" for o in options]
    out = command("spin", "-a", *defines, f"{model}.pml", cwd=where)
    if re.search("error", out, re.I):
        raise Failure(f"spin -a {' '.join(defines)} {model}.pml: {out}")
    command("gcc", "-w", "-O2", "-DSAFETY", "-DCOLLAPSE", "-DNOFAIR", "-o", "pan", "pan.c", cwd=where)
    began = time.monotonic()
    try:
        out = command("./pan", "-m100000", "-w24", cwd=where)
    except subprocess.TimeoutExpired:
        raise Failure(f"{model} {' '.join(options)}: no end within {LIMIT_S} s") from None
    seconds = time.monotonic() - began
    states, errors = re.search(r"(\d+) states, stored", out), re.search(r"errors: (\d+)", out)
    if not states or not errors:
        raise Failure(f"{model} {' '.join(options)}: pan said neither states nor errors:\n{out}")
    message = re.search(r"^pan:\d+: (.*?) \(at depth", out, re.M)
    error = ""
    if errors[1] != "0":
        if not message:
            raise Failure(f"{model} {' '.join(options)}: an error without its message:\n{out}")
        error = message[1]
    complete = "Search not completed" not in out and "too small" not in out and "out of memory" not in out
    return Outcome(error, complete, int(states[1]), seconds)


def trail(model, options, where):
    out = subprocess.run(["spin", "-t", "-p", "-g", *[f"-D{o}" for o in options], f"{model}.pml"], cwd=where,
                         capture_output=True, text=True, timeout=LIMIT_S).stdout
    return "\n".join(out.splitlines()[-150:])


def check(model, name, options, expected, where):
    """expected: clean (and complete), or found: any error that is the model's own."""
    got = search(model, options, where)
    verdict = got.error or ("complete" if got.complete else "NOT COMPLETE")
    print(f"{name:34} {got.states:>9} states {got.seconds:6.2f} s  {verdict}", flush=True)
    # An index out of range is a mistake of the model, not something that it has found.
    if "invalid array index" in got.error:
        raise Failure(f"{model} {name}: {got.error}\n{trail(model, options, where)}")
    if expected == "clean" and got.error:
        raise Failure(f"{model} {name}: {got.error}\n{trail(model, options, where)}")
    if expected == "clean" and not got.complete:
        raise Failure(f"{model} {name}: the search was not complete")
    if expected == "found" and not got.error:
        raise Failure(f"{model} {name}: the mutation was not found")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", choices=sorted(MODELS))
    parser.add_argument("--only", help="one case or mutation")
    parser.add_argument("--clean", action="store_true", help="the model as it is, only")
    parser.add_argument("--mutations", action="store_true", help="the mutations only")
    parser.add_argument("--part", default="1/1", metavar="K/N", help="of the mutations")
    parser.add_argument("--keep", type=pathlib.Path, help="leave the last search's files here")
    arguments = parser.parse_args()
    part = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", arguments.part)
    if not part or int(part[1]) > int(part[2]):
        parser.error(f"--part takes K/N with 1 <= K <= N, not '{arguments.part}'")
    if arguments.clean and arguments.mutations:
        parser.error("--clean and --mutations leave nothing together")
    model = MODELS[arguments.model]
    names = [*model.cases, *(m.name for m in model.mutations)]
    if arguments.only and arguments.only not in names:
        parser.error(f"{arguments.model} has no case or mutation '{arguments.only}'; it has {', '.join(names)}")
    for tool in ("spin", "gcc"):
        if not shutil.which(tool):
            parser.error(f"'{tool}' is not installed")
    # A switch that nobody throws, or that the model does not know, would be a mutation that is believed to be found.
    text = (HERE / f"{arguments.model}.pml").read_text()
    known = set(re.findall(r"(?:ifn?def |defined\()(\w+)", text)) | set(re.findall(r"^#if (\w+) ==", text, re.M))
    used = {o.split("=")[0] for o in " ".join([*model.cases.values(), *(m.name for m in model.mutations)]).split()}
    if known != used:
        print(f"{arguments.model}: switches that only the model or only the table has: {sorted(known ^ used)}", file=sys.stderr)
        return 1

    failed = []

    def one(name, options, expected):
        if arguments.only not in (None, name):
            return
        with tempfile.TemporaryDirectory() as where:
            try:
                check(arguments.model, name, options.split(), expected, where)
            except Failure as failure:
                failed.append(name)
                print(failure, file=sys.stderr)
            if arguments.keep:
                shutil.copytree(where, arguments.keep, dirs_exist_ok=True)

    for name, options in model.cases.items() if not arguments.mutations else ():
        one(name, options, "clean")
    chosen = [m for i, m in enumerate(model.mutations) if i % int(part[2]) == int(part[1]) - 1]
    for m in chosen if not arguments.clean else ():
        one(m.name, f"{model.cases[m.case]} {m.name}", "clean" if m.carried else "found")
    if failed:
        print(f"{arguments.model}: failed: {', '.join(failed)}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
