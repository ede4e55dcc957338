#include "model/glist.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace {

using namespace weft::rt;

struct glist_ : testing::Test {
  g* at(int i) { return &gs[i]; }
  std::vector<int> drain(glist& list) {
    std::vector<int> order;
    while (g* gp = list.pop_front()) {
      EXPECT_FALSE(gp->on_list);
      order.push_back(static_cast<int>(gp - gs));
    }
    return order;
  }
  g gs[8];
};

TEST_F(glist_, is_first_in_first_out) {
  glist list;
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(nullptr, list.pop_front());
  for (int i = 0; i < 4; ++i) list.push_back(at(i));
  EXPECT_FALSE(list.empty());
  EXPECT_EQ(4u, list.size());
  EXPECT_EQ((std::vector{0, 1, 2, 3}), drain(list));
  EXPECT_TRUE(list.empty());
  EXPECT_EQ(0u, list.size());
}

TEST_F(glist_, push_front_goes_before_all_others) {
  glist list;
  list.push_front(at(1));
  list.push_back(at(2));
  list.push_front(at(0));
  EXPECT_EQ((std::vector{0, 1, 2}), drain(list));
}

TEST_F(glist_, can_be_used_again_after_it_was_emptied) {
  glist list;
  list.push_back(at(0));
  drain(list);
  list.push_back(at(1));
  list.push_back(at(2));
  EXPECT_EQ((std::vector{1, 2}), drain(list));
  list.push_front(at(3));
  EXPECT_EQ((std::vector{3}), drain(list));
}

TEST_F(glist_, append_moves_all_of_the_other_behind_its_own) {
  glist a, b, none;
  a.push_back(at(0));
  b.push_back(at(1));
  b.push_back(at(2));
  a.append(none);
  a.append(b);
  EXPECT_TRUE(b.empty());
  EXPECT_EQ(0u, b.size());
  EXPECT_EQ(3u, a.size());
  a.push_back(at(3));
  none.append(a);
  EXPECT_TRUE(a.empty());
  EXPECT_EQ((std::vector{0, 1, 2, 3}), drain(none));
}

#ifdef WEFT_CHECKED
TEST_F(glist_, a_goroutine_in_two_lists_is_fatal) {
  glist a, b;
  a.push_back(at(0));
  EXPECT_EXIT(b.push_back(at(0)), testing::ExitedWithCode(2), "glist: goroutine is in a list already");
  EXPECT_EXIT(a.push_front(at(0)), testing::ExitedWithCode(2), "glist: goroutine is in a list already");
}
#endif

}  // namespace
