"""The examples print what their head comments say."""
import itertools
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
        for procs, way in itertools.product(("1", "2"), ([], ["--channels"])):
            with self.subTest(procs=procs, way=way):
                result = support.run("skynet", *way, str(leaves), env=support.environment(WEFT_PROCS=procs))
                self.assertEqual(result.returncode, 0, result.stderr)
                self.assertRegex(result.stdout.decode(), rf"\A{leaves * (leaves - 1) // 2}\n\d+ ms\n\Z")

    def test_refuses_what_is_no_power_of_ten(self):
        for way, bad in itertools.product(([], ["--channels"]), ("0", "12", "x", "", "--chanels")):
            with self.subTest(way=way, leaves=bad):
                result = support.run("skynet", *way, bad)
                self.assertEqual(result.returncode, 2)
                self.assertIn(f'"{bad}"', result.stderr.decode())


class Time(Example):
    def test_prints_what_it_says(self):
        for name in "select_timeout", "ticker", "rate_limiter":
            for procs in "1", "2", "4":
                with self.subTest(name=name, procs=procs):
                    self.check(support.run(name, env=support.environment(WEFT_PROCS=procs)), support.expected(name))


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


class SameOnAll(Example):
    """Programs whose output is the same on any number of Ps, and whenever they are run."""

    def same_on_all(self, name):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                self.check(support.run(name, env=support.environment(WEFT_PROCS=procs)), support.expected(name))


class Contexts(SameOnAll):
    def test_error_group(self):
        self.same_on_all("error_group")

    def test_cancel_tree(self):
        self.same_on_all("cancel_tree")

    def test_graceful_shutdown(self):
        self.same_on_all("graceful_shutdown")

    def test_chat(self):
        self.same_on_all("chat")


class Channels(SameOnAll):

    def test_ping_pong(self):
        self.same_on_all("ping_pong")

    def test_fan_in_out(self):
        self.same_on_all("fan_in_out")

    def test_mixed_threads(self):
        self.same_on_all("mixed_threads")

    def test_mutex_vs_channel(self):
        self.same_on_all("mutex_vs_channel")

    def test_dining(self):
        self.same_on_all("dining")


class Sieve(Example):
    def test_the_first_25(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                self.check(support.run("sieve", env=support.environment(WEFT_PROCS=procs)), support.expected("sieve"))

    def test_as_many_as_are_wanted(self):
        primes = [n for n in range(2, 1000) if all(n % d != 0 for d in range(2, n))]
        for count in 1, 2, 168:
            with self.subTest(count=count):
                wanted = " ".join(map(str, primes[:count])) + f"\n{count} primes, a chain of {count + 1} goroutines\n"
                self.check(support.run("sieve", str(count)), wanted.encode())

    def test_refuses_bad_counts(self):
        for bad in "0", "-1", "x", "", "3x", "10001", "99999999999":
            with self.subTest(bad):
                result = support.run("sieve", bad)
                self.assertEqual((result.returncode, result.stdout), (2, b""))
                self.assertIn(f'"{bad}"', result.stderr.decode())


class WorkerPool(Example):
    def test_its_own_numbers(self):
        for procs in "1", "2", "4":
            with self.subTest(procs=procs):
                result = support.run("worker_pool", env=support.environment(WEFT_PROCS=procs))
                self.check(result, support.expected("worker_pool"))

    def test_order_is_that_of_the_jobs(self):
        # The first takes longest by far.
        result = support.run("worker_pool", "1000036000099", "2", "3", "4", "2")
        self.check(result, b"1000036000099 = 1000003 * 1000033\n2 = 2\n3 = 3\n4 = 2 * 2\n2 = 2\n"
                           b"5 jobs, 5 done, 0 failed, by 3 workers\n")

    def test_failures_are_results(self):
        reason = "is no number from 2 to 18446744073709551615"
        bad = ["1", "", "-7", "18446744073709551616"]
        result = support.run("worker_pool", *bad, "6")
        wanted = "".join(f"{word}: {reason}\n" for word in bad) + "6 = 2 * 3\n5 jobs, 1 done, 4 failed, by 3 workers\n"
        self.check(result, wanted.encode(), status=1)


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
