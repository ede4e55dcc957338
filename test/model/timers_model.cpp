// The heap of one P, under whoever uses it at once: it is inserted into, removed from, popped, moved. What a timer's owner
// does with its memory once the timer is in no heap is a plain write here: whoever still touches it races with that.
#include "model/timers.hpp"

#include "checker/model.hpp"
#include "lock/mutex.hpp"

namespace {

using namespace weft::check;
using namespace weft::rt;

struct entry {
  atomic<void*> home{nullptr};
  std::uint32_t index = 0;
  std::uint64_t order = 0;
  int payload = 0;  // plain: what is to be done; the owner's again when the timer is in no heap
};
using heap = timer_heap<entry, mutex>;

int pop(heap& h, std::int64_t now) {
  int copied = 0;
  h.pop_due(now, 1, [&](const entry* t, std::int64_t) { copied = t->payload; });
  return copied;
}

MODEL(timers_remove_against_pop, "a timer is fired or removed, once; then its frame may go, at once") {
  heap h;
  int fired = 0;
  bool removed = false;
  entry e;
  e.payload = 7;
  h.insert(&e, 10);
  auto firing = [&] { fired = pop(h, 10); };
  auto t = start(firing);
  removed = heap::remove(&e);
  e.payload = -1;  // the frame is gone
  e.index = 99;
  e.order = 99;
  t.join();
  expect(removed ? fired == 0 : fired == 7, "one of the two, whole");
  expect(h.min_when() == no_timer && h.broken() == nullptr, "nothing is left");
  h.give_back_memory();
}

MODEL(timers_two_who_pop, "two who fire at once fire each timer once") {
  heap h;
  entry a, b;
  a.payload = 1;
  b.payload = 2;
  h.insert(&a, 1);
  h.insert(&b, 2);
  int one = 0;
  auto firing = [&] { one = pop(h, 5); };
  auto t = start(firing);
  const int two = pop(h, 5);
  t.join();
  expect(one + two == 3 && one != two, "each has one of them");
  h.give_back_memory();
}

MODEL(timers_remove_against_move, "a timer whose heap moves is removed from where it is") {
  heap from, to;
  entry a, b;
  from.insert(&a, 3);
  from.insert(&b, 4);
  auto moving = [&] { from.move_to(to); };
  auto t = start(moving);
  expect(heap::remove(&a), "it is in one of them");
  a.index = 99;
  t.join();
  expect(from.min_when() == no_timer && to.min_when() == 4, "the other has moved, and the first time is said");
  expect(from.broken() == nullptr && to.broken() == nullptr, "both are whole");
  expect(heap::remove(&b), "it is found");
  from.give_back_memory();
  to.give_back_memory();
}

MODEL(timers_grow_against_remove, "the array moves while others are removed") {
  heap h;
  entry a, b, c;
  h.insert(&a, 1);
  h.insert(&b, 2);
  auto adding = [&] { h.insert(&c, 0); };  // the third does not fit
  auto t = start(adding);
  expect(heap::remove(&a), "it is there");
  t.join();
  expect(h.min_when() == 0 && h.broken() == nullptr, "in order");
  expect(heap::remove(&b) && heap::remove(&c), "all are found");
  h.give_back_memory();
}

// Ten in a heap of four children each. What is last takes the place of what is removed: it sinks, or, where that was below a later
// one than itself, it rises. Meanwhile the first is popped.
MODEL(timers_removed_from_the_middle, "whichever is removed, the others fire, in their order") {
  heap h;
  constexpr std::size_t n = 10;
  entry all[n];
  // In the heap as they stand here: 5 is a child of 1, and 9 of 2.
  static constexpr std::int64_t times[n] = {1, 20, 2, 30, 31, 25, 26, 27, 28, 3};
  for (std::size_t i = 0; i < n; ++i) {
    all[i].payload = static_cast<int>(i + 1);
    h.insert(&all[i], times[i]);
  }
  const std::uint32_t which = choose(2) == 0 ? 5 : 1;
  int first = 0;
  auto firing = [&] { first = pop(h, 1); };
  auto t = start(firing);
  expect(heap::remove(&all[which]), "it is there");
  all[which].index = 99;
  t.join();
  expect(first == 1 && h.broken() == nullptr, "in order");
  std::int64_t before = 0;
  std::size_t fired = 0;
  while (h.pop_any([&](const entry* e, std::int64_t when) {
    expect(when >= before && when == times[e->payload - 1], "the first first");
    before = when;
  }))
    ++fired;
  expect(fired == n - 2, "nobody is lost");
  h.give_back_memory();
}

// min_when of protocol 5b: whoever publishes a timer, and then a flag, is not told of an older first time by who sees the flag.
MODEL(timers_first_time_is_published, "who knows of a timer does not see a later first time") {
  heap h;
  entry late, early;
  h.insert(&late, 10);
  atomic<int> said{0};
  auto adding = [&] {
    h.insert(&early, 5);
    said.store(1, weft::rt::release);
  };
  auto t = start(adding);
  if (said.load(weft::rt::acquire) == 1) expect(h.min_when() <= 5, "the earlier one is known");
  t.join();
  expect(heap::remove(&early) && h.min_when() == 10, "and then the later one again");
  expect(heap::remove(&late), "it is there");
  h.give_back_memory();
}

}  // namespace
