// What the structs of the model promise about their size and place: a million queued goroutines, and no false sharing.
#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "model/process.hpp"
#include "model/sched.hpp"

namespace {

using namespace weft::rt;

TEST(layout, a_goroutine_and_its_place_in_a_queue_are_at_most_256_bytes) {
  EXPECT_LE(sizeof(g) + sizeof(g*), 256u);
  EXPECT_EQ(0u, sizeof(g) % 64);
  EXPECT_EQ(64u, alignof(g));
  EXPECT_EQ(0u, offsetof(g, closure) % weft::detail::entry_align);
  EXPECT_EQ(64u, sizeof(g::closure));
  // A birth touches two lines: who it is, and its callable.
  EXPECT_LE(offsetof(g, closure) + sizeof(g::closure), 128u + 16u);
  EXPECT_LE(offsetof(g, parent_goid) + 8, 128u);
}

TEST(layout, an_all_zero_goroutine_is_a_legal_dead_one) {
  alignas(64) unsigned char memory[sizeof(g)] = {};
  g* gp = reinterpret_cast<g*>(memory);
  EXPECT_EQ(status::idle, gp->status.get());
  gp->status.born();
  EXPECT_EQ(nullptr, gp->m);
  EXPECT_FALSE(gp->on_list);
  EXPECT_FALSE(gp->is_thread());
}

TEST(layout, what_others_read_of_a_p_is_not_on_its_holders_lines) {
  EXPECT_EQ(0u, offsetof(p, status) % 64);
  EXPECT_EQ(0u, offsetof(p, q) % 64);
  EXPECT_GE(offsetof(p, q) - offsetof(p, status), 64u);
  EXPECT_EQ(0u, sizeof(p) % 64);
}

TEST(layout, the_words_of_the_spinning_dance_and_the_lock_are_on_lines_of_their_own) {
  EXPECT_EQ(0u, offsetof(sched_t, attention) % 64);
  EXPECT_EQ(0u, offsetof(sched_t, nmspinning) % 64);
  EXPECT_EQ(0u, offsetof(sched_t, lock) % 64);
  EXPECT_GE(offsetof(sched_t, lock) - offsetof(sched_t, nmspinning), 64u);
}

TEST(layout, the_revoke_word_has_two_bits_of_state_and_a_generation_above) {
  EXPECT_EQ(3u, revoke_state);
  EXPECT_EQ(revoke_door + 1, revoke_generation);
  for (const std::uint32_t s : {revoke_none, revoke_pending, revoke_done}) EXPECT_EQ(s, s & revoke_state);
}

TEST(layout, an_m_that_has_not_started_is_inside_the_runtime) {
  const m fresh;
  EXPECT_EQ(1u, fresh.in_runtime.load(relaxed));
  EXPECT_EQ(revoke_none, fresh.revoke.load(relaxed));
}

TEST(layout, wait_reasons_have_the_texts_of_go) {
  EXPECT_STREQ("", to_text(wait_reason::none));
  EXPECT_STREQ("semacquire", to_text(wait_reason::semacquire));
  EXPECT_STREQ("sync.Mutex.Lock", to_text(wait_reason::mutex_lock));
  EXPECT_STREQ("sync.WaitGroup.Wait", to_text(wait_reason::wait_group_wait));
}

}  // namespace
