"""hash_tree prints what sha256sum prints, and goes on after everything that fails."""
import errno
import os
import re
import resource
import shutil
import socket
import tempfile
import time
import unittest

import support
from trees import regular_files, same, sha256sum, write

PIECE = 128 * 1024  # hash_tree reads in pieces of this size
RESERVED = 32  # descriptors that hash_tree keeps free for other use

NOBODY = 65534

SUMMARY = re.compile(
    rb"hash_tree: files=(\d+) bytes=(\d+) seconds=\d+\.\d{3} goroutines=(\d+) threads=(\d+) steals=\d+\n\Z")


def line(path, code):
    return b"hash_tree: %s: %s" % (path, os.strerror(code).encode())


class HashTree(unittest.TestCase):
    maxDiff = None

    def setUp(self):
        self.top = os.fsencode(tempfile.mkdtemp(prefix="hash_tree."))
        self.addCleanup(shutil.rmtree, self.top)
        os.chmod(self.top, 0o755)

    def path(self, *names):
        return os.path.join(self.top, *names)

    def directory(self, *names):
        os.makedirs(self.path(*names))
        return self.path(*names)

    def file(self, *names, content=b"x"):
        write(self.path(*names), content)
        return self.path(*names)

    def check(self, result, stdout, errors=(), status=None):
        """errors: the lines before the summary, in any order. The summary must agree with stdout."""
        errors = sorted(errors)
        summary = SUMMARY.search(result.stderr)
        self.assertIsNotNone(summary, result.stderr)
        self.assertEqual(sorted(result.stderr[:summary.start()].splitlines()), errors)
        self.assertEqual(result.returncode, status if status is not None else bool(errors))
        if stdout is not None:
            same(self, result.stdout, stdout)
        files, _, goroutines, threads = map(int, summary.groups())
        self.assertEqual(files, result.stdout.count(b"\n"))
        self.assertGreater(goroutines, files)
        self.assertGreater(threads, 0)
        return summary


class Digests(HashTree):
    def test_a_real_tree(self):
        tree = b"/usr/include"
        if not os.path.isdir(tree):
            self.skipTest("no /usr/include")
        files = regular_files(tree)
        wanted = sha256sum(files)
        for procs in "1", "2":
            with self.subTest(procs=procs):
                summary = self.check(support.run("hash_tree", tree, env=support.environment(WEFT_PROCS=procs)), wanted)
                self.assertEqual(int(summary.group(2)), sum(os.path.getsize(f) for f in files))

    def test_odd_names(self):
        names = [b"a\nb", b"a\\b", b"a\rb", b"\\", b"\n", b"\r", b"\\n", b"end\\", b" ", b"  two  ", b"tab\there", b"-n",
                 b"--open", b"*", b"'\"", b"%s", b"{}", b"\xff\xfe", "ü€𝄞".encode(), b"\x01\x7f\x1b[31m", b".hidden",
                 b"..more", b"n" * 255]
        for name in names:
            self.file(name, content=name)
            self.file(self.directory(b"in", b"d" + name[:250]), name, content=name * 2)
        self.file(b"empty", content=b"")
        self.directory(b"empty directory")
        wanted = sha256sum(regular_files(self.top))
        self.assertEqual(wanted.count(b"\n"), 2 * len(names) + 1)
        for procs in "1", "2":
            with self.subTest(procs=procs):
                self.check(support.run("hash_tree", self.top, env=support.environment(WEFT_PROCS=procs)), wanted)

    def test_sizes_around_a_piece(self):
        for size in 0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE, 3 * PIECE + 7:
            self.file(b"%d" % size, content=os.urandom(size))
        self.check(support.run("hash_tree", self.top), sha256sum(regular_files(self.top)))

    def test_ways_to_name_the_tree(self):
        self.file(self.directory(b"-d", b"sub"), b"f")
        self.file(b"-f")
        for arguments, paths in (
            ([b"."], [b"./-d/sub/f", b"./-f"]),
            ([b"./"], [b"./-d/sub/f", b"./-f"]),
            ([b"./-d//"], [b"./-d//sub/f"]),
            ([b"./-d/../-d/sub"], [b"./-d/../-d/sub/f"]),
            ([b"--", b"-f", b"-d"], [b"-d/sub/f", b"-f"]),
            ([b"--", b"-d/"], [b"-d/sub/f"]),
        ):
            with self.subTest(arguments):
                self.check(support.run("hash_tree", *arguments, cwd=self.top), sha256sum(paths, cwd=self.top))

    def test_files_as_arguments_and_twice(self):
        f, d = self.file(b"f"), self.directory(b"d")
        g = self.file(b"d", b"g")
        self.check(support.run("hash_tree", g, d, f, d), sha256sum([f, g, g, g]))

    def test_passes_over_what_is_no_regular_file(self):
        f = self.file(b"f")
        os.symlink(b"f", self.path(b"link"))
        os.symlink(b".", self.path(b"loop"))
        os.symlink(b"nowhere", self.path(b"dangling"))
        os.mkfifo(self.path(b"fifo"))
        with socket.socket(socket.AF_UNIX) as s:
            s.bind(self.path(b"socket"))
            self.check(support.run("hash_tree", self.top), sha256sum([f]))

    def test_a_link_with_a_slash_names_its_directory(self):
        self.file(self.directory(b"d"), b"f")
        os.symlink(b"d", self.path(b"link"))
        self.check(support.run("hash_tree", self.path(b"link/")), sha256sum([self.path(b"link/f")]))


class Limits(HashTree):
    def test_more_files_than_may_be_open(self):
        for i in range(50):
            d = self.directory(b"%d" % i)
            for j in range(60):
                write(os.path.join(d, b"%d" % j), b"%d %d" % (i, j))
        wanted = sha256sum(regular_files(self.top))
        for procs in "1", "2":
            for most in 1, 8:
                with self.subTest(procs=procs, open=most):
                    result = support.run("hash_tree", "--open", str(most), self.top,
                                         env=support.environment(WEFT_PROCS=procs),
                                         limits=[(resource.RLIMIT_NOFILE, RESERVED + most)])
                    self.check(result, wanted)

    def test_deeper_than_directories_may_be_open(self):
        here = self.top
        while len(here) < 4000:
            here += b"/directory"
            os.mkdir(here)
            write(here + b"/f")
        result = support.run("hash_tree", "--open", "4", self.top, limits=[(resource.RLIMIT_NOFILE, RESERVED + 4)])
        self.check(result, sha256sum(regular_files(self.top)))

    def test_a_path_that_is_too_long(self):
        f = self.file(b"f")
        long = b"n" * 250
        here, fd = self.top, os.open(self.top, os.O_RDONLY)
        while len(here) <= 4096:  # PATH_MAX
            os.mkdir(long, dir_fd=fd)
            here += b"/" + long
            parent, fd = fd, os.open(long, os.O_RDONLY, dir_fd=fd)
            os.close(parent)
        os.close(fd)
        self.check(support.run("hash_tree", self.top), sha256sum([f]), [line(here, errno.ENAMETOOLONG)])


class Failures(HashTree):
    def test_a_missing_path(self):
        f = self.file(b"f")
        missing = self.path(b"missing")
        self.check(support.run("hash_tree", missing, f), sha256sum([f]), [line(missing, errno.ENOENT)])
        self.check(support.run("hash_tree", missing), b"", [line(missing, errno.ENOENT)])
        self.check(support.run("hash_tree", b""), b"", [line(b"", errno.ENOENT)])
        self.check(support.run("hash_tree", f + b"/"), b"", [line(f + b"/", errno.ENOTDIR)])

    def test_an_odd_name_stays_on_one_line(self):
        missing, shown = self.path(b"a\nb\\\r"), self.path(b"a\\nb\\\\\\r")
        self.check(support.run("hash_tree", missing), b"", [line(shown, errno.ENOENT)])

    def test_a_loop_of_links(self):
        os.symlink(b"loop", self.path(b"loop"))
        self.check(support.run("hash_tree", self.path(b"loop/f")), b"", [line(self.path(b"loop/f"), errno.ELOOP)])

    def test_arguments_that_are_no_regular_file(self):
        link, fifo = self.path(b"link"), self.path(b"fifo")
        os.symlink(b"nowhere", link)
        os.mkfifo(fifo)
        self.check(support.run("hash_tree", link, fifo, "/dev/null"), b"",
                   [b"hash_tree: %s: is a symbolic link, which is not followed" % link,
                    b"hash_tree: %s: is not a regular file" % fifo, b"hash_tree: /dev/null: is not a regular file"])

    def test_without_permission(self):
        f, d = self.file(b"f"), self.directory(b"d")
        secret, closed = self.file(b"secret"), self.directory(b"closed")
        self.file(b"closed", b"inside")
        unsearchable = self.directory(b"unsearchable")
        inside = self.file(b"unsearchable", b"inside")
        os.chmod(secret, 0)
        os.chmod(closed, 0)
        os.chmod(unsearchable, 0o444)
        self.addCleanup(os.chmod, closed, 0o755)
        self.addCleanup(os.chmod, unsearchable, 0o755)
        keywords = {}
        if os.geteuid() == 0:  # to whom permissions mean nothing
            copy = self.path(b"d", b"hash_tree")
            shutil.copy(os.fsencode(support.program("hash_tree")), copy)
            keywords = dict(executable=copy, user=NOBODY, group=NOBODY, extra_groups=[])
        try:
            result = support.run("hash_tree", f, secret, closed, unsearchable, **keywords)
        except PermissionError:
            self.skipTest("root that may not become another user")
        finally:
            shutil.rmtree(d)
        self.check(result, sha256sum([f]), [line(p, errno.EACCES) for p in (secret, closed, inside)])

    def test_a_read_that_fails(self):
        f = self.file(b"f")
        # A regular file to stat(2) and open(2). Its beginning is address 0, where nothing can be read.
        self.check(support.run("hash_tree", b"/proc/self/mem", f), sha256sum([f]), [line(b"/proc/self/mem", errno.EIO)])

    def test_what_changes_between_walk_and_open(self):
        for procs in "1", "2":
            with self.subTest(procs=procs):
                self.change_between_walk_and_open(procs)

    def change_between_walk_and_open(self, procs):
        """With --open 1 and a first file that has no end, the walk has read the directory and waits to go on."""
        tree = self.directory(b"tree" + procs.encode())
        for i in range(8):
            write(os.path.join(tree, b"file%d" % i))
        endless, vanished, link, directory, fifo, *others = [os.path.join(tree, name) for name in os.listdir(tree)]
        os.truncate(endless, 1 << 40)
        gone, swapped = os.path.join(tree, b"gone"), os.path.join(tree, b"swapped")
        os.mkdir(gone)
        os.mkdir(swapped)
        elsewhere = self.directory(b"elsewhere" + procs.encode())
        write(os.path.join(elsewhere, b"not ours"))

        child = support.start("hash_tree", "--open", "1", tree, env=support.environment(WEFT_PROCS=procs))
        self.addCleanup(child.kill)
        self.wait_until_open(child, endless)
        for path in vanished, link, directory, fifo:
            os.unlink(path)
        os.symlink(os.path.join(elsewhere, b"not ours"), link)
        os.mkdir(directory)
        os.mkfifo(fifo)
        os.rmdir(gone)
        os.rmdir(swapped)
        os.symlink(elsewhere, swapped)
        os.truncate(endless, 0)

        result = support.finish(child)
        self.check(result, None, [line(vanished, errno.ENOENT), line(link, errno.ELOOP), line(directory, errno.EISDIR),
                                  b"hash_tree: %s: is not a regular file" % fifo, line(gone, errno.ENOENT),
                                  line(swapped, errno.ENOTDIR)])
        # How many of its zeros the endless one had given is not known.
        lines = result.stdout.splitlines(True)
        rest = [l for l in lines if not l.endswith(b"  " + endless + b"\n")]
        self.assertEqual(len(rest), len(lines) - 1)
        same(self, b"".join(rest), sha256sum(others))

    def wait_until_open(self, child, path):
        descriptors = f"/proc/{child.pid}/fd"
        deadline = time.monotonic() + support.TIMEOUT
        while time.monotonic() < deadline:
            self.assertIsNone(child.poll(), "ended early")
            for fd in os.listdir(descriptors):
                try:
                    if os.fsencode(os.readlink(f"{descriptors}/{fd}")) == path:
                        return
                except FileNotFoundError:
                    pass
            time.sleep(0.005)
        self.fail(f"{path} was never opened")

    def test_output_that_cannot_be_written(self):
        f = self.file(b"f")
        with open("/dev/full", "wb") as full:
            result = support.run("hash_tree", f, stdout=full)
        self.assertEqual(result.returncode, 1)
        self.assertTrue(result.stderr.startswith(line(b"standard output", errno.ENOSPC) + b"\n"), result.stderr)


class Usage(HashTree):
    def refused(self, *arguments, names, **keywords):
        result = support.run("hash_tree", *arguments, **keywords)
        self.assertEqual((result.returncode, result.stdout), (2, b""), result.stderr)
        self.assertTrue(result.stderr.startswith(b"hash_tree: "), result.stderr)
        for name in names:
            self.assertIn(name, result.stderr.splitlines()[0])

    def test_no_argument(self):
        self.refused(names=[b"PATH is required"])
        self.refused("--open", "3", names=[b"PATH is required"])

    def test_an_unknown_option(self):
        self.refused("--opne", "3", self.top, names=[b"--opne"])

    def test_bad_values_are_named(self):
        for bad in "0", "-1", "x", "1.5", "4097", "99999999999999999999", "3x":
            with self.subTest(bad):
                self.refused("--open", bad, self.top, names=[b"--open", bad.encode()])
        self.refused(self.top, "--open", names=[b"--open"])

    def test_more_than_the_process_may_have_open(self):
        self.refused("--open", "64", self.top, names=[b"--open", b"64", b"%d" % (90 - RESERVED)],
                     limits=[(resource.RLIMIT_NOFILE, 90)])

    def test_a_bad_variable(self):
        self.refused(self.top, names=[b"WEFT_PROCS", b"many"], env=support.environment(WEFT_PROCS="many"))

    def test_help(self):
        result = support.run("hash_tree", "--help")
        self.assertEqual((result.returncode, result.stderr), (0, b""))
        self.assertIn(b"--open", result.stdout)


if __name__ == "__main__":
    support.main()
