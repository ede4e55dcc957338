"""pipeline prints what sha256sum prints, sorted, and goes on after everything that fails."""
import errno
import os
import resource
import shutil
import tempfile
import unittest

import support
from trees import regular_files, same, sha256sum, write

PIECE = 64 * 1024  # pipeline reads in pieces of this size
RESULTS_AHEAD = 256


def line(path, code):
    return b"pipeline: %s: %s\n" % (path, os.strerror(code).encode())


class Pipeline(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.top = os.fsencode(tempfile.mkdtemp(prefix="pipeline."))
        self.addCleanup(shutil.rmtree, self.top)

    def path(self, *names):
        return os.path.join(self.top, *names)

    def file(self, *names, content=b"x"):
        os.makedirs(os.path.dirname(self.path(*names)), exist_ok=True)
        write(self.path(*names), content)

    def check(self, result, paths, errors=b"", status=0):
        self.assertEqual((result.stderr, result.returncode), (errors, status))
        same(self, result.stdout, sha256sum(paths))

    def test_a_real_tree(self):
        tree = b"/usr/include"
        if not os.path.isdir(tree):
            self.skipTest("no /usr/include")
        files = regular_files(tree)
        for procs in "1", "2":
            with self.subTest(procs=procs):
                self.check(support.run("pipeline", tree, env=support.environment(WEFT_PROCS=procs)), files)

    def test_sizes_about_a_piece(self):
        for size in 0, 1, PIECE - 1, PIECE, PIECE + 1, 5 * PIECE, 40 * PIECE + 7:
            self.file(b"%d" % size, content=os.urandom(size))
        self.check(support.run("pipeline", self.top), regular_files(self.top))

    def test_order_is_that_of_the_bytes_of_the_paths(self):
        # A directory among its brothers stands where its name with a slash does.
        for name in b"a/x", b"a.x", b"a-x", b"a0", b"a/b/c", b"a/b.c", b"\xff", b"A", b"b/\x01":
            self.file(name)
        for argument in self.top, self.top + b"/":
            with self.subTest(argument):
                self.check(support.run("pipeline", argument), regular_files(self.top))

    def test_names_that_need_escapes(self):
        for name in b"new\nline", b"back\\slash", b"return\r", b"space ", b"quote'\"", b"caf\xc3\xa9":
            self.file(name)
        self.check(support.run("pipeline", self.top), regular_files(self.top))

    def test_more_files_than_may_be_on_their_way(self):
        for i in range(3 * RESULTS_AHEAD):
            self.file(b"%d" % (i % 7), b"%d" % i, content=b"%d" % i)
        self.check(support.run("pipeline", self.top), regular_files(self.top))

    def test_memory_does_not_grow_with_the_file(self):
        """384 MiB, by a process that has a twelfth of that: whoever reads waits for whoever hashes, who is slower."""
        if support.options.small:
            self.skipTest("sanitizers need memory of their own")
        with open(self.path(b"large"), "wb") as f:
            f.truncate(384 << 20)
        result = support.run("pipeline", self.top, env=support.environment(WEFT_PROCS="4"))
        # Of the largest child that there was: sha256sum needs less.
        self.assertLess(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, 32 << 10, "KiB")
        self.check(result, [self.path(b"large")])

    def test_what_is_passed_over(self):
        self.file(b"f")
        os.symlink(b"f", self.path(b"link"))
        os.symlink(b".", self.path(b"loop"))
        os.mkfifo(self.path(b"fifo"))
        os.mkdir(self.path(b"empty"))
        self.check(support.run("pipeline", self.top), [self.path(b"f")])

    def test_no_directory(self):
        self.file(b"f")
        for name, code in (b"f", errno.ENOTDIR), (b"nothing", errno.ENOENT):
            with self.subTest(name):
                self.check(support.run("pipeline", self.path(name)), [], line(self.path(name), code), status=1)

    def test_reads_that_fail_stand_in_order_and_the_rest_is_hashed(self):
        """Where no security module answers, the files of attr look regular, open, and cannot be read."""
        attr = b"/proc/self/attr"
        if not os.path.isdir(attr):
            self.skipTest("no /proc/self/attr")
        hashed, errors = [], b""
        for path in sorted(regular_files(attr)):
            try:
                with open(path, "rb") as f:
                    f.read()
                hashed.append(path)
            except OSError as e:
                errors += line(path, e.errno)
        if not errors:
            self.skipTest("a security module answers: every file of /proc/self/attr can be read")
        result = support.run("pipeline", attr)
        self.assertEqual((result.stderr, result.returncode), (errors, 1))
        self.assertEqual([l[66:] for l in result.stdout.splitlines()], hashed)

    def test_without_permission(self):
        for name in b"a", b"secret", b"z", b"closed/inside":
            self.file(name)
        os.chmod(self.top, 0o755)
        os.chmod(self.path(b"secret"), 0)
        os.chmod(self.path(b"closed"), 0)
        self.addCleanup(os.chmod, self.path(b"closed"), 0o755)
        keywords = {}
        if os.geteuid() == 0:  # to whom permissions mean nothing
            place = tempfile.mkdtemp(prefix="pipeline.")
            self.addCleanup(shutil.rmtree, place)
            os.chmod(place, 0o755)
            copy = shutil.copy(support.program("pipeline"), place)
            keywords = dict(executable=copy, user=65534, group=65534, extra_groups=[])
        try:
            result = support.run("pipeline", self.top, **keywords)
        except PermissionError:
            self.skipTest("root that may not become another user")
        self.check(result, [self.path(b"a"), self.path(b"z")],
                   line(self.path(b"closed"), errno.EACCES) + line(self.path(b"secret"), errno.EACCES), status=1)

    def test_output_that_cannot_be_written(self):
        self.file(b"f")
        with open("/dev/full", "wb") as full:
            result = support.run("pipeline", self.top, stdout=full)
        self.assertEqual((result.returncode, result.stderr), (1, b"pipeline: standard output cannot be written\n"))

    def test_usage(self):
        for arguments in [], [""], [self.top, self.top]:
            with self.subTest(arguments):
                result = support.run("pipeline", *arguments)
                self.assertEqual((result.returncode, result.stdout), (2, b""))
                self.assertEqual(result.stderr, b"usage: pipeline DIRECTORY\n")


if __name__ == "__main__":
    support.main()
