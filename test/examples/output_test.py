"""The examples print what their head comments say."""
import re
import signal
import unittest

import support


class Example(unittest.TestCase):
    maxDiff = None

    def check(self, result, stdout, status=0):
        self.assertEqual((result.stdout.decode(), result.returncode), (stdout.decode(), status), result.stderr.decode())


class Hello(Example):
    def test_prints_in_order(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                self.check(support.run("hello", env=support.environment(WEFT_PROCS=procs)), support.expected("hello"))


class ParallelSum(Example):
    def test_sum(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                result = support.run("parallel_sum", env=support.environment(WEFT_PROCS=procs))
                self.check(result, support.expected("parallel_sum"))


class Skynet(Example):
    def test_sum(self):
        leaves = 10_000 if support.options.small else 1_000_000
        for procs in "1", "2":
            with self.subTest(procs=procs):
                result = support.run("skynet", str(leaves), env=support.environment(WEFT_PROCS=procs))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertRegex(result.stdout.decode(), rf"\A{leaves * (leaves - 1) // 2}\n\d+ ms\n\Z")

    def test_refuses_what_is_no_power_of_ten(self):
        for bad in "0", "12", "x", "":
            with self.subTest(leaves=bad):
                result = support.run("skynet", bad)
                self.assertEqual(result.returncode, 2)
                self.assertIn(f'"{bad}"', result.stderr.decode())


class GoldenOrder(Example):
    def test_exact_with_one_p(self):
        for variables in {}, {"WEFT_PROCS": "1"}:
            with self.subTest(variables):
                result = support.run("golden_order", env=support.environment(**variables))
                self.check(result, support.expected("golden_order"))

    def test_invariants_with_more(self):
        for procs in "2", "4":
            for seed in range(1, 11):
                with self.subTest(procs=procs, seed=seed):
                    variables = {"WEFT_PROCS": procs, "WEFT_DEBUG": f"seed={seed}"}
                    result = support.run("golden_order", env=support.environment(**variables))
                    self.check(result, support.expected("golden_order_invariants"))


class Panic(Example):
    def test_report(self):
        for procs in "1", "2":
            with self.subTest(procs=procs):
                result = support.run("panic", env=support.environment(WEFT_PROCS=procs))
                self.check(result, support.expected("panic"), status=-signal.SIGABRT)
                report = result.stderr.decode()
                for part in "std::runtime_error", "account 2: balance is negative", "auditor", "audit(":
                    self.assertIn(part, report)
                self.assertRegex(report, re.compile(r"created\b.*\bmain\b", re.DOTALL))


class Embed(Example):
    def test_prints_in_order(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                self.check(support.run("embed", env=support.environment(WEFT_PROCS=procs)), support.expected("embed"))


class LockedThread(Example):
    def test_nobody_else_has_the_threads_state(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                result = support.run("locked_thread", env=support.environment(WEFT_PROCS=procs))
                self.check(result, support.expected("locked_thread"))


class Shutdown(Example):
    def test_unwinds_and_cleans_up(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                result = support.run("shutdown", env=support.environment(WEFT_PROCS=procs))
                self.check(result, support.expected("shutdown"))


class DeterministicTest(Example):
    def test_finds_the_same_every_time(self):
        for _ in range(2):
            self.check(support.run("deterministic_test"), support.expected("deterministic_test"))


class Journal(Example):
    def report(self, **variables):
        """What it prints, without what differs from build to build: its own path, and places in the source."""
        result = support.run("journal", env=support.environment(**variables))
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        text = re.sub(r"(?m)^(  replay: WEFT_SIM_SEED=\S+) .*/journal$", r"\1 build/release/examples/journal",
                      result.stdout.decode())
        text = re.sub(r"(?m)^    in .*\n", "", text)
        return re.sub(r"(?m)^    created by .*\btwo_writers\b.* in goroutine 1\b.*$",
                      "    created by two_writers in goroutine 1", text)

    def test_finds_understands_and_repeats(self):
        self.assertEqual(self.report(), support.expected("journal").decode())

    def test_the_choice_repeats_it(self):
        def steps(report):
            return report[report.index("schedule, "):]

        again = self.report(WEFT_SIM_SEED="sim:2.after_unlock.3=3")
        self.assertIn("1 of 1 choices applied", again)
        self.assertEqual(steps(again), steps(support.expected("journal").decode()))

    def test_the_choice_is_harmless_when_repaired(self):
        result = support.run("journal", "repaired", env=support.environment(WEFT_SIM_SEED="sim:2.after_unlock.3=3"))
        self.assertEqual(result.returncode, 0)
        self.assertEqual(result.stderr.decode(), "weft::sim: replayed, and the run has passed; 1 of 1 choices applied\n")

    def test_repaired(self):
        self.check(support.run("journal", "repaired"), support.expected("journal_repaired"))


if __name__ == "__main__":
    support.main()
