"""tools/order_labels: a clean tree passes, and each kind of violation is seen."""
import unittest

import planted

CLEAN = {
    "docs/internals/memory-order.md": "| `runq.publish` | `spin.dance` |\n",
    "src/model/runq.hpp": "tail.store(1);  // order: runq.publish\nbarrier();  // order: spin.dance, runq.publish\n",
    "src/sched/spinning.hpp": "// S2  barrier()   order: prose.only\nbarrier();  // order: spin.dance (both)\n",
}


class OrderLabels(planted.Planted):
    tool = "order_labels"

    def test_clean_tree_passes(self):
        self.assert_clean(CLEAN)

    def test_label_with_one_end(self):
        self.assert_found("src/model/runq.hpp:2: order spin.dance stands only here",
                          CLEAN | {"src/sched/spinning.hpp": ""})

    def test_label_that_is_not_documented(self):
        self.assert_found("src/model/runq.hpp:1: order runq.publish is not in docs/internals/memory-order.md",
                          CLEAN | {"docs/internals/memory-order.md": "spin.dance runq.publish_batch\n"})

    def test_label_without_a_name(self):
        self.assert_found("src/base/a.hpp:1: `// order:` without a name", CLEAN | {"src/base/a.hpp": "// order: see above\n"})


if __name__ == "__main__":
    unittest.main()
