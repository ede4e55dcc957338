// The number of Ps follows the process's CPUs, unless somebody has said how many (Go's cgroup tests, as far as they are about
// affinity; what a quota means is in test/unit/os/cgroup_test.cpp).
#include "death/ending.hpp"

namespace {

using death::ending;

void expect_good(const char* name, const std::vector<std::string>& variables = {}) {
  const ending e = death::run("procs", {name}, variables, 100);
  if (e.status == 77) GTEST_SKIP() << "the process may use one CPU only";
  EXPECT_EQ(e.status, 0) << name << ": " << testing::PrintToString(e);
  EXPECT_EQ(e.err, "") << name;
}

TEST(Procs, AffinityThatIsSmallerWins) { expect_good("begin_with_one"); }
TEST(Procs, TheEnvironmentWins) { expect_good("environment_wins", {"WEFT_PROCS=7"}); }
TEST(Procs, FollowTheMachine) { expect_good("follow"); }
TEST(Procs, AtMostOnceASecond) { expect_good("follow_seldom"); }
TEST(Procs, SetByHandTheyStay) { expect_good("by_hand"); }
TEST(Procs, SetByOptionTheyStay) { expect_good("by_option"); }
TEST(Procs, SetByTheEnvironmentTheyStay) { expect_good("by_environment", {"WEFT_PROCS=2"}); }
TEST(Procs, AreStoppedWithoutMembarrier) { expect_good("stop_without_membarrier", {"WEFT_DEBUG=membarrier=off"}); }

}  // namespace
