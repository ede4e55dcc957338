"""tools/floors: a clean tree passes, and each kind of violation is seen."""
import unittest

import planted

TABLE = (planted.PROJECT / "tools/floors.txt").read_text()

# One header per kind of place, all well-behaved.
CLEAN = {
    "tools/floors.txt": TABLE,
    "include/weft/go.hpp": "#pragma once\n#include <cstddef>\n#include <weft/detail/entry.hpp>\n",
    "include/weft/detail/entry.hpp": "#pragma once\nnamespace weft { struct entry; }\n",
    "src/base/check.hpp": "#pragma once\n#include <cstdlib>\n",
    "src/os/futex.hpp": '#pragma once\n#include <linux/futex.h>\n#include "base/check.hpp"\n',
    "src/lock/note.hpp": '#pragma once\n#include "base/check.hpp"\n#include "os/futex.hpp"\n',
    "src/sched/spinning.hpp": '#pragma once\n#include "base/check.hpp"\n',
    "src/sched/enter.hpp": '#pragma once\n#include "lock/note.hpp"\n#include "sched/spinning.hpp"\n',
    "src/sync/sema.cpp": '#include "sched/enter.hpp"\n#include <weft/go.hpp>\n',
}


class Floors(planted.Planted):
    tool = "floors"

    def plant(self, expected, file, text, *args, **more):
        self.assert_found(expected, CLEAN | {file: text} | more, *args)

    def test_clean_tree_passes(self):
        self.assert_clean(CLEAN)

    def test_upward_include(self):
        self.plant("src/base/bits.hpp:2: base (floor 0) may not include lock/note.hpp",
                   "src/base/bits.hpp", '#pragma once\n#include "lock/note.hpp"\n', "--no-compile")

    def test_same_floor_only_where_the_table_says_so(self):
        self.plant("src/lock/rank.hpp:1: lock (floor 1) may not include mem/slab.hpp",
                   "src/lock/rank.hpp", '#include "mem/slab.hpp"\n', "--no-compile", **{"src/mem/slab.hpp": ""})
        self.assert_clean(CLEAN | {"src/chan/chan.hpp": "", "src/time/timer.cpp": '#include "chan/chan.hpp"\n'},
                          "--no-compile")

    def test_protocol_header_includes_floor_0_only(self):
        self.plant("src/sched/spinning.hpp:1: a protocol header includes lock/note.hpp",
                   "src/sched/spinning.hpp", '#include "lock/note.hpp"\n', "--no-compile")

    def test_protocol_header_that_is_gone(self):
        files = dict(CLEAN)
        del files["src/lock/note.hpp"]
        files |= {"src/lock/mutex.hpp": "", "src/sched/enter.hpp": ""}
        self.assert_found("tools/floors.txt:1: protocol header lock/note.hpp does not exist", files, "--no-compile")

    def test_public_header_reaches_src(self):
        self.plant('include/weft/chan.hpp:1: a public header includes "../../src/base/check.hpp"',
                   "include/weft/chan.hpp", '#include "../../src/base/check.hpp"\n', "--no-compile")

    def test_public_header_includes_a_system_header(self):
        for header in ("sys/socket.h", "pthread.h"):
            self.plant(f"include/weft/net.hpp:1: a public header includes <{header}>",
                       "include/weft/net.hpp", f"#include <{header}>\n", "--no-compile")

    def test_allowed_exception(self):
        files = CLEAN | {"include/weft/net.hpp": "#include <sys/socket.h>\n"}
        files["tools/floors.txt"] += "allow include/weft/net.hpp sys/socket.h  # sockaddr is in its interface\n"
        self.assert_clean(files, "--no-compile")

    def test_room_without_a_floor(self):
        self.plant("src/misc/a.hpp:1: room misc has no floor", "src/misc/a.hpp", "", "--no-compile")

    def test_include_beyond_the_deps_of_cmake(self):
        cmake = "weft_room(base)\nweft_room(os DEPS base)\nweft_room(lock DEPS os)\nweft_room(sched DEPS base)\n"
        self.plant("src/sched/enter.hpp:2: sched includes lock/note.hpp, but src/CMakeLists.txt",
                   "src/CMakeLists.txt", cmake, "--no-compile")

    def test_header_that_does_not_compile_alone(self):
        self.plant("src/base/list.hpp:1: does not compile alone", "src/base/list.hpp", "inline size_t n;\n")

    def test_header_without_a_guard(self):
        self.plant("src/base/list.hpp:1: does not compile alone", "src/base/list.hpp", "struct node {};\n")

    def test_budget(self):
        self.plant("include/weft/go.hpp:1: ", "include/weft/go.hpp", "#pragma once\n#include <functional>\n")

    def test_budget_exception_needs_a_reason(self):
        result = self.run_tool(CLEAN | {"tools/floors.txt": TABLE + "budget chan.hpp 20000\n"}, "--no-compile")
        self.assertEqual(result.returncode, 1)
        self.assertIn("an exception needs a reason", result.stderr)


if __name__ == "__main__":
    unittest.main()
