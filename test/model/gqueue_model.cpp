// The global queue and the shared store of dead gs, in blocks of two, under their locks; and the caches in front of them:
// what one P gives away another gets, once.
#include "model/gqueue.hpp"

#include "model/fabric.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;

// Whoever has taken it off owns it.
void own(rt::g* gp) {
  gp->parent_goid = gp->goid;
  gp->goid = gp->parent_goid;
}

MODEL(gqueue_first_in_first_out, "two who put and one who takes, one at a time and in batches: each once, in order") {
  fabric f(2);
  rt::sched_t* s = f.sched();
  rt::g* gs[6];
  for (std::uint32_t i = 0; i < 6; ++i) gs[i] = f.new_g(i + 1);
  auto put = [&] {
    {
      const rt::mutex_guard guard(s->lock);
      for (int i = 0; i < 3; ++i) rt::globrunqput(s, gs[i]);
    }
    const rt::mutex_guard guard(s->lock);
    s->runq.push_back_n(gs + 3, 3);
    s->runq_size.store(s->runq.size(), rt::relaxed);
  };
  auto t = start(put);
  std::uint64_t last = 0;
  std::uint32_t n = 0;
  const auto take = [&](bool batch) {
    const rt::mutex_guard guard(s->lock);
    const std::uint32_t size = s->runq.size();
    if (batch && size >= 2) {
      rt::g* out[2];
      s->runq.pop_front_n(out, 2);
      for (rt::g* gp : out) {
        own(gp);
        expect(gp->goid == last + 1, "first in, first out");
        last = gp->goid;
        ++n;
      }
    } else if (rt::g* gp = s->runq.pop_front()) {
      own(gp);
      expect(gp->goid == last + 1, "first in, first out");
      last = gp->goid;
      ++n;
    }
    s->runq_size.store(s->runq.size(), rt::relaxed);
  };
  take(false);
  take(false);
  t.join();
  take(false);
  take(false);
  bool batch = true;
  while (n != 6) {
    take(batch);
    batch = !batch;
  }
  expect(s->runq.empty() && s->runq_size.load(rt::relaxed) == 0, "all were taken");
}

MODEL(gqueue_returning_every_second, "who comes back goes before the others, but every second turn is theirs") {
  fabric f(1);
  rt::sched_t* s = f.sched();
  rt::g* gs[6];
  for (std::uint32_t i = 0; i < 6; ++i) gs[i] = f.new_g(i + 1);
  const rt::mutex_guard guard(s->lock);
  const auto bit = [&] { return (s->attention.load(rt::relaxed) & rt::attention_back) != 0; };
  for (int i = 0; i < 3; ++i) rt::globrunqput(s, gs[i]);
  expect(!bit(), "nobody is back");
  for (int i = 3; i < 6; ++i) s->runq.push_returning(gs[i]);
  rt::runq_changed(s);
  expect(bit() && s->runq_size.load(rt::relaxed) == 6, "somebody is");
  const bool back_first = s->runq.pop_front()->goid > 3;
  int back = back_first ? 1 : 0;
  for (int n = 1; n < 6; ++n) {
    rt::runq_changed(s);
    expect(bit() == (back < 3), "as long as one of them waits, and no longer");
    const bool is_back = s->runq.pop_front()->goid > 3;
    expect(is_back == ((n % 2 == 0) == back_first), "turn by turn");
    back += is_back ? 1 : 0;
  }
  rt::runq_changed(s);
  expect(!bit() && s->runq.empty(), "nobody is left");
}

MODEL(gqueue_batch_into_rings, "two Ms take batches of the global queue into their Ps while a third puts") {
  fabric f(2);
  rt::sched_t* s = f.sched();
  rt::g* gs[4];
  for (std::uint32_t i = 0; i < 4; ++i) gs[i] = f.new_g(i + 1);
  int taken[4] = {};
  rt::m* last = f.new_m();
  rt::m* other = f.new_m();
  const auto work_as = [&](rt::m* mp, std::uint32_t i) {
    rt::acquirep(mp, f.p(i));
    for (int round = 0; round < 2; ++round) {
      rt::g* gp = nullptr;
      {
        const rt::mutex_guard guard(s->lock);
        gp = rt::globrunqget_batch(mp);
      }
      while (gp != nullptr) {
        own(gp);
        ++taken[gp->goid - 1];
        gp = mp->p->q.take();
      }
    }
    rt::releasep(mp);
  };
  auto first = [&] { work_as(other, 1); };
  auto t = start(first);
  {
    const rt::mutex_guard guard(s->lock);
    s->runq.push_back_n(gs, 4);
    s->runq_size.store(4, rt::relaxed);
  }
  work_as(last, 0);
  t.join();
  if (!s->runq.empty()) work_as(last, 0);
  for (const int n : taken) expect(n == 1, "each is taken once");
}

MODEL(gfree_from_p_to_p, "dead gs that are too many for one P are born again on another, once") {
  fabric f(2);
  rt::m* a = f.new_m();
  rt::m* b = f.new_m();
  rt::acquirep(a, f.p(0));
  rt::acquirep(b, f.p(1));
  rt::sched_t* s = f.sched();
  rt::g* mine[4];
  for (rt::g*& gp : mine) {
    gp = rt::gfget(a);
    gp->goid = 7;  // whoever has it from gfget owns it
  }
  auto giver = [&] {
    for (rt::g* gp : mine) {
      gp->goid = 0;
      rt::gfput(a->p, gp);
    }
  };
  auto t = start(giver);
  rt::g* first = rt::gfget(b);
  expect(first->goid == 0, "it is dead");
  first->goid = 8;
  rt::g* second = rt::gfget(b);
  rt::g* third = rt::gfget(b);
  expect(first != second && second != third && first != third, "each g is given out once");
  second->goid = third->goid = 8;
  t.join();
  expect(first->goid == 8 && second->goid == 8 && third->goid == 8, "nobody else has it");
  expect(s->ngfree.load(rt::relaxed) <= 2, "the count agrees with the store");
  // At the end of a runtime they go to the process.
  const rt::mutex_guard guard(s->gfree_lock);
  while (s->gfree.pop() != nullptr) {
  }
  s->gfree.drop();
}

MODEL(slab_gives_fresh_ones, "two threads get fresh objects of one slab: no object twice, all of them zero") {
  struct range {
    rt::g* first = nullptr;
    std::size_t n = 0;
  };
  range got[2];
  const auto take = [&](range& r) {
    void* at = nullptr;
    r.n = rt::the_process.gs.fresh(&at, 2);
    r.first = static_cast<rt::g*>(at);
    for (std::size_t i = 0; i < r.n; ++i) {
      expect(r.first[i].goid == 0, "fresh from the system");
      r.first[i].goid = 1;
    }
  };
  auto other = [&] { take(got[1]); };
  auto t = start(other);
  take(got[0]);
  t.join();
  expect(got[0].n == 2 && got[1].n == 2, "there is room");
  expect(got[0].first + 2 == got[1].first || got[1].first + 2 == got[0].first, "one after the other");
}

MODEL(stacks_from_hand_to_hand,
      "stacks of one class are taken and given back by two Ms: each belongs to one at a time") {
  rt::stack_arenas& arena = rt::the_process.stacks;
  const auto work = [&](const char* me) {
    int err = 0;
    rt::stack* list = nullptr;
    for (int i = 0; i < 2; ++i) {
      rt::stack* st = arena.get(0, &err);
      expect(st != nullptr && st->owner == nullptr, "a free stack");
      st->owner = me;
      st->next = list;
      list = st;
    }
    for (rt::stack* st = list; st != nullptr; st = st->next) {
      expect(st->owner == me, "mine alone");
      st->owner = nullptr;
    }
    arena.put_list(0, list);
  };
  work("before");  // two have been used
  auto other = [&] { work("b"); };
  auto t = start(other);
  {
    int err = 0;
    rt::stack* st = arena.get(0, &err);
    expect(st->owner == nullptr, "a free stack");
    st->owner = "a";
    st->owner = nullptr;
    arena.put_list(0, st);
  }
  t.join();
  expect(arena.slots_in_use() == 0, "all were given back");
}

}  // namespace
