"""tools/stress sees each way to fail, and prints the line that repeats it."""
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import unittest

STRESS = pathlib.Path(__file__).resolve().parents[2] / "tools" / "stress"


class Stress(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name)

    def program(self, name, text):
        path = self.root / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{text}\n")
        path.chmod(0o755)
        return path

    def run_stress(self, *programs, minutes="0.05", more=()):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("TEST_", "WEFT_"))}
        return subprocess.run([sys.executable, STRESS, "--minutes", minutes, *more, *map(str, programs)],
                              capture_output=True, text=True, cwd=self.root, env=environment, timeout=100)

    def test_runs_several_at_once_each_with_a_seed_of_its_own(self):
        notes = self.root / "notes"
        program = self.program("ok", f"""
with open({str(notes)!r}, "a") as f: f.write("begin %s %s\\n" % (os.environ["TEST_SEED"], os.environ["WEFT_DEBUG"]))
time.sleep(0.3)
with open({str(notes)!r}, "a") as f: f.write("end\\n")""")
        result = self.run_stress(program)
        self.assertEqual(0, result.returncode, result.stdout + result.stderr)
        lines = notes.read_text().splitlines()
        seeds = re.findall(r"begin (\d+) noise=[1-5]", notes.read_text())
        self.assertGreaterEqual(len(seeds), 4)
        self.assertEqual(len(seeds), len(set(seeds)))
        self.assertTrue(all(line.startswith("begin") for line in lines[:4]), lines)

    def test_a_failure_is_printed_with_its_seed_and_the_line_that_repeats_it(self):
        program = self.program("bad", 'print("seed", os.environ["TEST_SEED"]); sys.exit(3)')
        result = self.run_stress(program)
        self.assertEqual(1, result.returncode)
        self.assertIn("exit status 3", result.stdout)
        seed = re.search(r"^seed (\d+)$", result.stdout, re.M).group(1)
        last = result.stdout.splitlines()[-1]
        self.assertRegex(last, rf"^replay: TEST_SEED={seed} WEFT_DEBUG=noise=\d ")
        again = subprocess.run(last.removeprefix("replay: "), shell=True, capture_output=True, text=True, timeout=20)
        self.assertEqual((3, f"seed {seed}\n"), (again.returncode, again.stdout))

    def test_a_signal_is_named(self):
        result = self.run_stress(self.program("dies", "os.kill(os.getpid(), signal.SIGKILL)"))
        self.assertEqual(1, result.returncode)
        self.assertIn("ended by SIGKILL", result.stdout)

    def test_one_that_does_not_end_is_a_failure_that_may_still_say_where_it_is(self):
        program = self.program("hangs", """
def say(*_): print("I am here", flush=True); os._exit(9)
signal.signal(signal.SIGABRT, say)
time.sleep(60)""")
        result = self.run_stress(program, more=("--timeout", "1"))
        self.assertEqual(1, result.returncode)
        self.assertIn("I am here", result.stdout)
        self.assertIn("no end within 1 s", result.stdout)

    def test_stress_programs_are_told_how_long_and_make_their_own_noise(self):
        program = self.program("stress/one", 'sys.exit(os.environ.get("TEST_SECONDS") != "2" or "WEFT_DEBUG" in os.environ)')
        self.assertEqual(0, self.run_stress(program, minutes="0.01", more=("--seconds", "2")).returncode)

    def test_quiet_means_no_noise(self):
        loud = 'sys.exit("WEFT_DEBUG" in os.environ or os.environ.get("TEST_NOISE", "0") != "0")'
        result = self.run_stress(self.program("unit", loud), self.program("stress/one", loud + ""), minutes="0.01",
                                 more=("--quiet",))
        self.assertEqual(0, result.returncode, result.stdout)

    def test_what_is_no_program_is_refused_by_name(self):
        result = self.run_stress(self.root / "nothing")
        self.assertEqual(2, result.returncode)
        self.assertIn("nothing", result.stderr)


if __name__ == "__main__":
    unittest.main()
