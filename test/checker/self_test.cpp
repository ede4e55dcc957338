// The checker is checked before it is used (RELIABILITY, finding 9): litmus tests with exact sets of outcomes, each
// walked with and without reduction; random programs, reduced against unreduced; and every kind of failure, found.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdlib>
#include <set>

#include "checker/machine.hpp"
#include "checker/model.hpp"
#include "checker/search.hpp"
#include "explore/strategy.hpp"

namespace {

using namespace weft::check;
using outcomes = std::set<std::uint64_t>;

struct walk {
  outcomes seen;
  std::uint64_t executions = 0;
  std::string failure;
};

walk walk_all(void (*body)(), search& s, bool weak = true) {
  walk w;
  settings how;
  how.weak = weak;
  while (s.begin()) {
    const verdict v = run_once(body, s, how, false);
    if (v == verdict::pruned) continue;
    ++w.executions;
    if (v == verdict::failed) {
      w.failure = failure_text();
      break;
    }
    w.seen.insert(outcome());
  }
  return w;
}

// Two outcomes, each a string of digits, most significant first.
outcomes all_binary(int digits) {
  outcomes all;
  for (std::uint64_t v = 0; v < std::uint64_t{1} << digits; ++v) {
    std::uint64_t decimal = 0;
    for (int d = digits - 1; d >= 0; --d) decimal = decimal * 10 + (v >> d & 1);
    all.insert(decimal);
  }
  return all;
}
outcomes without(outcomes all, std::initializer_list<std::uint64_t> forbidden) {
  for (const auto f : forbidden) all.erase(f);
  return all;
}

// The set must be exactly this, by both walks; and by sampling nothing outside of it.
void expect_exactly(void (*body)(), const outcomes& expected) {
  const walk reduced = walk_all(body, *exhaustive());
  EXPECT_EQ(reduced.failure, "");
  EXPECT_EQ(reduced.seen, expected);
  const walk whole = walk_all(body, *full(unbounded));
  EXPECT_EQ(whole.seen, expected);
  EXPECT_LE(reduced.executions, whole.executions);
  const auto s = portfolio(1);
  settings how;
  for (int i = 0; i < 200 && s->begin(); ++i) {
    run_once(body, *s, how, false);
    EXPECT_TRUE(expected.count(outcome()) != 0) << outcome();
  }
}

constexpr auto rlx = std::memory_order_relaxed;
constexpr auto acq = std::memory_order_acquire;
constexpr auto rel = std::memory_order_release;
constexpr auto acq_rel_ = std::memory_order_acq_rel;
constexpr auto sc = std::memory_order_seq_cst;

using word = std::atomic<int>;

template <std::memory_order S, std::memory_order L, bool Fence>
void store_buffering() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, S);
    if constexpr (Fence) std::atomic_thread_fence(sc);
    a = y.load(L);
  });
  auto u = start([&] {
    y.store(1, S);
    if constexpr (Fence) std::atomic_thread_fence(sc);
    b = x.load(L);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, store_buffering_relaxed) { expect_exactly(store_buffering<rlx, rlx, false>, all_binary(2)); }
TEST(litmus, store_buffering_acquire_release) { expect_exactly(store_buffering<rel, acq, false>, all_binary(2)); }
TEST(litmus, store_buffering_seq_cst) { expect_exactly(store_buffering<sc, sc, false>, without(all_binary(2), {0})); }
TEST(litmus, store_buffering_with_fences) {
  expect_exactly(store_buffering<rlx, rlx, true>, without(all_binary(2), {0}));
}
TEST(litmus, store_buffering_does_not_show_under_sequential_consistency) {
  EXPECT_EQ(walk_all(store_buffering<rlx, rlx, false>, *exhaustive(), false).seen, without(all_binary(2), {0}));
}

void store_buffering_one_fence() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, rlx);
    std::atomic_thread_fence(sc);
    a = y.load(rlx);
  });
  auto u = start([&] {
    y.store(1, rlx);
    b = x.load(rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, one_fence_is_not_enough) { expect_exactly(store_buffering_one_fence, all_binary(2)); }

void store_buffering_membarrier() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, rlx);
    a = y.load(rlx);
  });
  auto u = start([&] {
    y.store(1, rlx);
    membarrier_step(0);
    b = x.load(rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, membarrier_is_a_fence_for_both) {
  expect_exactly(store_buffering_membarrier, without(all_binary(2), {0}));
}

template <bool Before>
void message_behind_membarrier() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    if constexpr (!Before) membarrier_step(0);
    x.store(1, rlx);
    y.store(1, rlx);
  });
  auto u = start([&] {
    if constexpr (Before) membarrier_step(0);
    a = y.load(rlx);
    b = x.load(rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, a_membarrier_orders_nothing_that_is_still_to_come) {
  expect_exactly(message_behind_membarrier<true>, all_binary(2));
  expect_exactly(message_behind_membarrier<false>, all_binary(2));
}

void store_buffering_rmw() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, rlx);
    a = y.fetch_add(0, acq_rel_);
  });
  auto u = start([&] {
    y.fetch_add(1, acq_rel_);
    b = x.load(acq);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
// If t's RMW comes first, u's continues its release sequence and sees x; else t sees 1.
TEST(litmus, an_rmw_on_the_same_word_orders_both) { expect_exactly(store_buffering_rmw, without(all_binary(2), {0})); }

template <std::memory_order S, std::memory_order L, bool Fence>
void message_passing() {
  word data{0}, flag{0};
  int a = 0, b = 0;
  auto t = start([&] {
    data.store(1, rlx);
    if constexpr (Fence) std::atomic_thread_fence(rel);
    flag.store(1, S);
  });
  auto u = start([&] {
    a = flag.load(L);
    if constexpr (Fence) std::atomic_thread_fence(acq);
    b = data.load(rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, message_passing_relaxed) { expect_exactly(message_passing<rlx, rlx, false>, all_binary(2)); }
TEST(litmus, message_passing_release_only) { expect_exactly(message_passing<rel, rlx, false>, all_binary(2)); }
TEST(litmus, message_passing) { expect_exactly(message_passing<rel, acq, false>, without(all_binary(2), {10})); }
TEST(litmus, message_passing_by_fences) {
  expect_exactly(message_passing<rlx, rlx, true>, without(all_binary(2), {10}));
}

void load_buffering() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    a = x.load(rlx);
    y.store(1, rlx);
  });
  auto u = start([&] {
    b = y.load(rlx);
    x.store(1, rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
// 11 is allowed by C++; the checker does not show it, and says so (memory.hpp).
TEST(litmus, load_buffering_is_not_modelled) { expect_exactly(load_buffering, without(all_binary(2), {11})); }

template <std::memory_order S, std::memory_order L, bool Fence>
void independent_reads() {
  word x{0}, y{0};
  int a = 0, b = 0, c = 0, d = 0;
  auto t = start([&] { x.store(1, S); });
  auto u = start([&] { y.store(1, S); });
  auto v = start([&] {
    a = x.load(L);
    if constexpr (Fence) std::atomic_thread_fence(sc);
    b = y.load(L);
  });
  auto w = start([&] {
    c = y.load(L);
    if constexpr (Fence) std::atomic_thread_fence(sc);
    d = x.load(L);
  });
  t.join();
  u.join();
  v.join();
  w.join();
  report_outcome(static_cast<std::uint64_t>(a * 1000 + b * 100 + c * 10 + d));
}
void expect_reduced(void (*body)(), const outcomes& expected) {  // too many for the unreduced walk
  const walk reduced = walk_all(body, *exhaustive());
  EXPECT_EQ(reduced.failure, "");
  EXPECT_EQ(reduced.seen, expected);
}
TEST(litmus, independent_reads_acquire) { expect_reduced(independent_reads<rel, acq, false>, all_binary(4)); }
TEST(litmus, independent_reads_seq_cst) {
  expect_reduced(independent_reads<sc, sc, false>, without(all_binary(4), {1010}));
}
TEST(litmus, independent_reads_with_fences) {
  expect_reduced(independent_reads<rlx, rlx, true>, without(all_binary(4), {1010}));
}

void coherence() {
  word x{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, rlx);
    x.store(2, rlx);
  });
  auto u = start([&] {
    a = x.load(rlx);
    b = x.load(rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, reads_of_one_word_do_not_go_back) { expect_exactly(coherence, {0, 1, 2, 11, 12, 22}); }

template <std::memory_order S, std::memory_order L>
void coherence_across() {
  word x{0}, y{0};
  int a = 0, b = 0, c = 0;
  auto t = start([&] { x.store(1, rlx); });
  auto u = start([&] {
    a = x.load(rlx);
    y.store(1, S);
  });
  auto v = start([&] {
    b = y.load(L);
    c = x.load(rlx);
  });
  t.join();
  u.join();
  v.join();
  report_outcome(static_cast<std::uint64_t>(a * 100 + b * 10 + c));
}
// What u has read is known to whoever acquires from u, although it never synchronised with t.
TEST(litmus, a_read_is_handed_on) {
  expect_exactly(coherence_across<rel, acq>, without(all_binary(3), {110}));
  expect_exactly(coherence_across<rlx, rlx>, all_binary(3));
}

template <bool Rmw>
void release_sequence() {
  word data{0}, x{0};
  int got = 0, b = 0;
  auto t = start([&] {
    data.store(1, rlx);
    x.store(1, rel);
  });
  auto u = start([&] {
    if constexpr (Rmw) {
      int one = 1;
      x.compare_exchange_strong(one, 2, rlx, rlx);
    } else {
      if (x.load(rlx) == 1) x.store(2, rlx);
    }
  });
  auto v = start([&] {
    got = x.load(acq);
    b = data.load(rlx);
  });
  t.join();
  u.join();
  v.join();
  report_outcome(static_cast<std::uint64_t>(got * 10 + b));
}
TEST(litmus, an_rmw_continues_a_release_sequence) { expect_exactly(release_sequence<true>, {0, 1, 11, 21}); }
TEST(litmus, a_plain_store_ends_a_release_sequence) { expect_exactly(release_sequence<false>, {0, 1, 11, 20, 21}); }

void write_read_write() {  // WRC
  word x{0}, y{0};
  int a = 0, b = 0, c = 0;
  auto t = start([&] { x.store(1, rel); });
  auto u = start([&] {
    a = x.load(acq);
    y.store(1, rel);
  });
  auto v = start([&] {
    b = y.load(acq);
    c = x.load(acq);
  });
  t.join();
  u.join();
  v.join();
  report_outcome(static_cast<std::uint64_t>(a * 100 + b * 10 + c));
}
TEST(litmus, causality_is_transitive) { expect_exactly(write_read_write, without(all_binary(3), {110})); }

void read_write_causality() {  // RWC with fences
  word x{0}, y{0};
  int a = 0, b = 0, c = 0;
  auto t = start([&] { x.store(1, rlx); });
  auto u = start([&] {
    a = x.load(rlx);
    std::atomic_thread_fence(sc);
    b = y.load(rlx);
  });
  auto v = start([&] {
    y.store(1, rlx);
    std::atomic_thread_fence(sc);
    c = x.load(rlx);
  });
  t.join();
  u.join();
  v.join();
  report_outcome(static_cast<std::uint64_t>(a * 100 + b * 10 + c));
}
TEST(litmus, fences_order_what_was_read) { expect_exactly(read_write_causality, without(all_binary(3), {100})); }

void two_adds() {
  word x{0};
  int a = 0, b = 0;
  auto t = start([&] { a = x.fetch_add(1, rlx); });
  auto u = start([&] { b = x.fetch_add(1, rlx); });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, adds_are_atomic) { expect_exactly(two_adds, {1, 10}); }

void failing_cas() {
  word x{0};
  int ok = 0, found = 5;
  auto t = start([&] {
    x.store(1, rlx);
    x.store(2, rlx);
  });
  auto u = start([&] { ok = x.compare_exchange_strong(found, 9, rlx, rlx) ? 1 : 0; });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(ok * 10 + found));
}
TEST(litmus, a_failing_cas_may_read_what_is_old) { expect_exactly(failing_cas, {0, 1, 2}); }

void s_shape() {
  word x{0}, y{0};
  int a = 0;
  auto t = start([&] {
    x.store(2, rlx);
    y.store(1, rel);
  });
  auto u = start([&] {
    a = y.load(acq);
    x.store(1, rlx);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + x.load(rlx)));
}
TEST(litmus, a_store_after_an_acquire_is_newer) { expect_exactly(s_shape, {1, 2, 11}); }

void mixed_seq_cst() {
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    x.store(1, rlx);
    std::atomic_thread_fence(sc);
    a = y.load(rlx);
  });
  auto u = start([&] {
    y.store(1, sc);
    b = x.load(sc);
  });
  t.join();
  u.join();
  report_outcome(static_cast<std::uint64_t>(a * 10 + b));
}
TEST(litmus, fences_and_seq_cst_operations_are_in_one_order) {
  expect_exactly(mixed_seq_cst, without(all_binary(2), {0}));
}

// ---- random programs: what the reduced walk sees is what there is

struct random_program {
  struct op {
    std::uint8_t what, where, value;
    order ord;
  };
  std::vector<std::vector<op>> threads;
};
random_program* program = nullptr;

void run_random() {
  struct shared {
    alignas(8) std::uint32_t at[3] = {};
    std::uint64_t locks[2] = {};
    std::uint64_t seen = 0;
    std::uint64_t results[3] = {};
  };
  shared s;
  std::vector<started> ts;
  for (std::uint32_t t = 0; t < program->threads.size(); ++t) {
    ts.push_back(start([&s, t] {
      std::uint64_t r = 0;
      for (const random_program::op& o : program->threads[t]) {
        switch (o.what) {
          case 0:
          case 1: r = r * 7 + atomic_load(&s.at[o.where], 4, o.ord, 1) + 1; break;
          case 2:
          case 3: atomic_store(&s.at[o.where], 4, o.value, o.ord, 1); break;
          case 4: r = r * 7 + atomic_rmw(&s.at[o.where], 4, rmw_op::add, o.value, o.ord, 1) + 1; break;
          case 5:
            r = r * 7 +
                atomic_cas(&s.at[o.where], 4, o.value, o.value + 1u, o.ord,
                           acquires(o.ord) ? (o.ord == seq_cst ? seq_cst : acquire) : relaxed, 1) +
                1;
            break;
          case 7:  // a critical section
            lock_step(&s.locks[o.value & 1], 1);
            r = r * 7 + atomic_load(&s.at[o.where], 4, relaxed, 1) + 1;
            atomic_store(&s.at[o.where], 4, o.value + t * 3, relaxed, 1);
            unlock_step(&s.locks[o.value & 1], 1);
            break;
          case 8:  // one that is left out when another thread is in it
            if (try_lock_step(&s.locks[o.value & 1], 1)) {
              r = r * 7 + atomic_load(&s.at[o.where], 4, relaxed, 1) + 1;
              unlock_step(&s.locks[o.value & 1], 1);
            } else {
              r = r * 7 + 5;
            }
            break;
          default: atomic_fence(o.ord == relaxed ? seq_cst : o.ord, 1);
        }
      }
      s.results[t] = r;
    }));
  }
  for (auto& t : ts) t.join();
  std::uint64_t all = 0;
  for (const auto r : s.results) all = weft::rt::explore::mix(all, r);
  report_outcome(all);
}

// Programs of the first `kinds` kinds of operations.
void compare_reduced_and_not(std::uint32_t kinds) {
  const char* wanted = std::getenv("TEST_PROGRAMS");
  const int programs = wanted != nullptr ? std::atoi(wanted) : 400;
  ASSERT_GT(programs, 0);
  const char* seed_text = std::getenv("TEST_SEED");
  weft::rt::explore::random_source random(seed_text != nullptr ? std::strtoull(seed_text, nullptr, 0) : 1);
  std::uint64_t whole_executions = 0;
  std::uint64_t reduced_executions = 0;
  for (int i = 0; i < programs; ++i) {
    random_program p;
    const std::uint32_t nthreads = 2 + random.below(2);
    for (std::uint32_t t = 0; t < nthreads; ++t) {
      p.threads.emplace_back();
      const std::uint32_t n = kinds > 7       ? (nthreads == 2 ? 2 : 1)
                              : nthreads == 2 ? 2 + random.below(3)
                                              : 1 + random.below(2) + (random.below(4) == 0 ? 1 : 0);
      for (std::uint32_t k = 0; k < n; ++k) {
        random_program::op o;
        o.what = static_cast<std::uint8_t>(random.below(kinds));
        o.where = static_cast<std::uint8_t>(random.below(2));
        o.value = static_cast<std::uint8_t>(random.below(3));
        constexpr order loads[] = {relaxed, acquire, seq_cst};
        constexpr order stores[] = {relaxed, release, seq_cst};
        constexpr order both[] = {relaxed, acquire, release, acq_rel, seq_cst};
        if (o.what >= 5 && kinds > 7) o.what = static_cast<std::uint8_t>(7 + random.below(2));
        o.ord = o.what < 2 ? loads[random.below(3)] : o.what < 4 ? stores[random.below(3)] : both[random.below(5)];
        p.threads.back().push_back(o);
      }
    }
    program = &p;
    const walk whole = walk_all(run_random, *full(unbounded));
    const walk reduced = walk_all(run_random, *exhaustive());
    whole_executions += whole.executions;
    reduced_executions += reduced.executions;
    ASSERT_EQ(whole.failure, "");
    ASSERT_EQ(reduced.failure, "");
    if (reduced.seen != whole.seen) {
      std::string text;
      for (const auto& t : p.threads) {
        text += "thread:";
        for (const auto& o : t) {
          text += " (" + std::to_string(o.what) + " at " + std::to_string(o.where) + " value " +
                  std::to_string(o.value) + " order " + std::to_string(o.ord) + ")";
        }
        text += "\n";
      }
      FAIL() << "program " << i << ": " << reduced.seen.size() << " outcomes reduced, " << whole.seen.size()
             << " without reduction\n"
             << text;
    }
  }
  program = nullptr;
  std::printf("%d programs: %llu executions without reduction, %llu with\n", programs,
              static_cast<unsigned long long>(whole_executions), static_cast<unsigned long long>(reduced_executions));
}
TEST(reduction, random_programs_have_the_same_outcomes_reduced_and_not) { compare_reduced_and_not(7); }
TEST(reduction, random_programs_with_locks_have_the_same_outcomes_reduced_and_not) { compare_reduced_and_not(9); }

// ---- each kind of failure is found

std::string failure_of(void (*body)()) { return walk_all(body, *exhaustive()).failure; }

TEST(finds, a_data_race_in_an_execution_where_it_did_no_harm) {
  EXPECT_NE(failure_of([] {
              int x = 0;
              auto t = start([&] { x = 1; });
              x = 2;
              t.join();
            }).find("data race"),
            std::string::npos);
}

TEST(finds, no_race_where_an_acquire_orders_it) {
  EXPECT_EQ(failure_of([] {
              int x = 0;
              word flag{0};
              auto t = start([&] {
                x = 1;
                flag.store(1, rel);
              });
              if (flag.load(acq) == 1) x = 2;
              t.join();
            }),
            "");
}

TEST(finds, a_race_where_the_flag_is_relaxed) {
  EXPECT_NE(failure_of([] {
              int x = 0;
              word flag{0};
              auto t = start([&] {
                x = 1;
                flag.store(1, rlx);
              });
              if (flag.load(acq) == 1) x = 2;
              t.join();
            }).find("data race"),
            std::string::npos);
}

TEST(finds, a_race_on_one_byte_of_eight_but_not_between_two) {
  struct pair {
    volatile char a = 0, b = 0;  // written, and never read: the compiler would leave it out
  };
  EXPECT_EQ(failure_of([] {
              pair p;
              auto t = start([&] { p.a = 1; });
              p.b = 1;
              t.join();
            }),
            "");
  EXPECT_NE(failure_of([] {
              pair p;
              auto t = start([&] { p.b = 2; });
              p.b = 1;
              t.join();
            }).find("data race"),
            std::string::npos);
}

TEST(finds, a_relaxed_store_that_an_rmw_has_overwritten_before_the_object_goes) {
  EXPECT_NE(failure_of([] {
              auto* x = new word(0);
              x->load(rlx);
              bool gone = false;
              auto t = start([x] { x->store(1, rlx); });
              auto u = start([&, x] {
                int one = 1;
                gone = x->compare_exchange_strong(one, 2, rlx, rlx);
                if (gone) delete x;
              });
              t.join();
              u.join();
              if (!gone) delete x;
            }).find("data race"),
            std::string::npos);
}

TEST(finds, use_after_free) {
  EXPECT_NE(failure_of([] {
              auto* x = new word(0);
              auto t = start([x] { x->store(1, rlx); });
              delete x;
              t.join();
            }).find("free"),
            std::string::npos);
}

TEST(finds, a_leak) {
  EXPECT_NE(failure_of([] {
              int* kept = new int(1);
              asm volatile("" : : "r"(kept));
            }).find("leak"),
            std::string::npos);
}

TEST(finds, a_lost_wake_up) {
  EXPECT_NE(failure_of([] {
              std::atomic<std::uint32_t> w{0};
              auto t = start([&] {
                futex_wake(&w, 1, 0);
                w.store(1, rel);
              });
              while (w.load(acq) == 0) futex_wait(&w, 0, -1, 0);
              t.join();
            }).find("deadlock"),
            std::string::npos);
  EXPECT_EQ(failure_of([] {
              std::atomic<std::uint32_t> w{0};
              auto t = start([&] {
                w.store(1, rel);
                futex_wake(&w, 1, 0);
              });
              while (w.load(acq) == 0) futex_wait(&w, 0, -1, 0);
              t.join();
            }),
            "");
}

TEST(finds, an_endless_loop) {
  EXPECT_NE(failure_of([] {
              word w{0};
              while (w.load(rlx) == 0) yield_step(0);
            }).find("livelock"),
            std::string::npos);
}

TEST(finds, an_atomic_used_before_its_construction_is_known) {
  EXPECT_NE(failure_of([] {
              std::atomic<word*> shared{nullptr};
              auto t = start([&] {
                auto* w = new word(7);
                shared.store(w, rlx);
              });
              if (word* w = shared.load(acq)) w->load(rlx);
              t.join();
              delete shared.load(rlx);
            }).find("data race"),
            std::string::npos);
}

TEST(finds, a_fault_and_goes_on_searching) {
  for (int i = 0; i < 2; ++i) {
    EXPECT_NE(failure_of([] {
                word w{0};
                auto t = start([&] { w.store(1, rlx); });
                if (w.load(rlx) == 1) *reinterpret_cast<volatile int*>(std::uintptr_t{64}) = 1;
                t.join();
              }).find("SIGSEGV"),
              std::string::npos);
  }
}

TEST(finds, a_timeout_at_any_moment) {
  EXPECT_EQ(walk_all(
                [] {
                  std::atomic<std::uint32_t> w{0};
                  auto t = start([&] {
                    w.store(1, rel);
                    futex_wake(&w, 1, 0);
                  });
                  const bool woken = futex_wait(&w, 0, 1000, 0);
                  report_outcome(woken ? 1 : 0);
                  t.join();
                },
                *exhaustive())
                .seen,
            (outcomes{0, 1}));
}

void timeout_in_the_middle() {
  std::atomic<std::uint32_t> w{0};
  const std::int64_t began = now();
  int late = 0;
  int woken = 0;
  auto t = start([&] {
    w.store(1, rlx);
    late = now() > began ? 1 : 0;
    futex_wake(&w, 1, 0);
  });
  woken = futex_wait(&w, 0, 1000, 0) ? 1 : 0;
  t.join();
  report_outcome(static_cast<std::uint64_t>(late * 10 + woken));
}
TEST(reduction, a_timeout_that_a_wake_up_would_take_away_is_tried) {
  EXPECT_EQ(walk_all(timeout_in_the_middle, *exhaustive()).seen,
            walk_all(timeout_in_the_middle, *full(unbounded)).seen);
}

void woken_then_reads() {
  std::atomic<std::uint32_t> w{0};
  word x{0}, y{0};
  int a = 0, b = 0;
  auto t = start([&] {
    futex_wake(&w, 1, 0);
    x.store(1, rlx);
    y.store(1, rlx);
  });
  const bool woken = futex_wait(&w, 0, 1000, 0);
  a = y.load(rlx);
  b = x.load(rlx);
  t.join();
  report_outcome(static_cast<std::uint64_t>((woken ? 100 : 0) + a * 10 + b));
}
TEST(reduction, who_is_woken_learns_what_the_waker_had_done_and_no_more) {
  EXPECT_EQ(walk_all(woken_then_reads, *exhaustive()).seen, all_binary(3));
  EXPECT_EQ(walk_all(woken_then_reads, *full(unbounded)).seen, all_binary(3));
}

// A spinner that gives way does not keep the other from running, in any strategy.
void spinner() {
  word w{0};
  auto t = start([&] { w.store(1, rlx); });
  while (w.load(rlx) == 0) yield_step(0);
  t.join();
}
TEST(fairness, a_spinner_that_gives_way_is_no_livelock) {
  EXPECT_EQ(walk_all(spinner, *exhaustive()).failure, "");
  EXPECT_EQ(walk_all(spinner, *full(2)).failure, "");
  using weft::rt::explore::kind;
  for (const kind k : {kind::random, kind::pct, kind::pos, kind::round_robin}) {
    const auto s = sampled(k, 3, 7);
    settings how;
    for (int i = 0; i < 300 && s->begin(); ++i) {
      ASSERT_NE(run_once(spinner, *s, how, false), verdict::failed) << failure_text();
    }
  }
}

// The same path is the same execution; and a sampled failure can be replayed.
TEST(replay, a_path_gives_the_same_failure) {
  const auto body = [] {
    int x = 0;
    word flag{0};
    auto t = start([&] {
      flag.store(1, rlx);
      x = 1;
    });
    if (flag.load(rlx) == 1) x = 2;
    t.join();
  };
  const auto s = sampled(weft::rt::explore::kind::random, 1, 3);
  settings how;
  verdict v = verdict::done;
  for (int i = 0; i < 1000 && v == verdict::done; ++i) {
    s->begin();
    v = run_once(body, *s, how, false);
  }
  ASSERT_EQ(v, verdict::failed);
  std::string first = failure_text();
  std::vector<std::uint8_t> path;
  bool reduced = false;
  ASSERT_TRUE(parse_path(path_text(s->path(), s->reduces()), path, reduced));
  ASSERT_EQ(reduced, s->reduces());
  const auto r = weft::check::replay(path, reduced);
  r->begin();
  EXPECT_EQ(run_once(body, *r, how, true), verdict::failed);
  // Addresses are the same too: nothing is random in the machine.
  EXPECT_EQ(failure_text(), first);
  EXPECT_FALSE(recorded().empty());
}

// The compilers pass orders as constants (tsan_interface.cpp). If one stops, every order arrives as seq_cst.
TEST(compiler, passes_the_memory_order) {
  EXPECT_EQ(walk_all(store_buffering<rlx, rlx, false>, *exhaustive()).seen.count(0), 1u);
  EXPECT_EQ(walk_all(message_passing<rel, rlx, false>, *exhaustive()).seen.count(10), 1u);
}

}  // namespace

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
