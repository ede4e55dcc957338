// The tree of contexts through its public face, on plain threads: who cancels first, who comes too late, who is the last to let go.
#include "weft/context.hpp"

#include <chrono>
#include <memory>

#include "model/fabric.hpp"
#include "model/process.hpp"
#include "os/sys.hpp"
#include "sched/callback_timer.hpp"

namespace {

using namespace weft::check;
using weft::context;
namespace rt = weft::rt;

int cause_of(const context& c) {
  try {
    std::rethrow_exception(c.cause());
  } catch (int n) {
    return n;
  }
}

MODEL(context_first_cause, "two cancel, each with a cause: one is seen by both, with the error, and stays") {
  const context c = context::background().with_cancel();
  const auto cancel_and_look = [&](int n) {
    c.cancel(std::make_exception_ptr(n));
    expect(static_cast<bool>(c.err()), "it is done when cancel returns");
    return cause_of(c);
  };
  int seen = 0;
  auto other = start([&] { seen = cancel_and_look(1); });
  const int mine = cancel_and_look(2);
  other.join();
  expect(seen == mine && cause_of(c) == mine, "the first cause");
}

MODEL(context_child_against_cancel, "a child that is made while its parent is cancelled is cancelled") {
  const context parent = context::background().with_cancel();
  context child;
  auto maker = start([&] { child = parent.with_cancel(); });
  parent.cancel();
  maker.join();
  expect(static_cast<bool>(child.err()), "not forgotten");
}

MODEL(context_done_against_cancel,
      "a done channel that is asked for while it is cancelled is closed, and err is there") {
  const context parent = context::background().with_cancel();
  const context child = parent.with_cancel();
  auto asks = start([&] {
    child.done().recv();
    expect(static_cast<bool>(child.err()), "closed, and so an error");
  });
  parent.cancel();
  asks.join();
}

MODEL(context_err_and_done, "whoever sees the error finds the channel closed") {
  const context c = context::background().with_cancel();
  const weft::recv_chan<> done = c.done();
  auto looks = start([&] {
    if (c.err()) expect(done.try_recv() == weft::chan_status::closed, "an error, and so closed");
  });
  c.cancel();
  looks.join();
}

MODEL(context_all_below_are_done, "a context and its parent are cancelled: when either call returns the leaf is done",
      .preemptions = 2) {
  const context root = context::background().with_cancel();
  const context middle = root.with_cancel();
  const context leaf = middle.with_cancel();
  auto other = start([&] {
    middle.cancel();
    expect(static_cast<bool>(leaf.err()), "done for who has cancelled the middle");
  });
  root.cancel();
  expect(leaf.err() && middle.err(), "and for who has cancelled the root");
  other.join();
}

MODEL(context_last_share_against_cancel,
      "the last handle goes while the parent is cancelled: who has the done channel sees it closed") {
  const context parent = context::background().with_cancel();
  context child = parent.with_cancel();
  const weft::recv_chan<> done = child.done();
  auto drops = start([&] { child = context(); });
  parent.cancel();
  drops.join();
  expect(done.try_recv() == weft::chan_status::closed, "somebody has closed it");
}

MODEL(context_last_share_of_a_leaf, "and one that nobody watches is freed once, by one of them") {
  const context parent = context::background().with_cancel();
  context child = parent.with_cancel();
  auto drops = start([&] { child = context(); });
  parent.cancel();
  drops.join();
}

MODEL(context_dropped_twice, "two handles of a child go at once, while the parent is cancelled", .preemptions = 2) {
  const context parent = context::background().with_cancel();
  context a = parent.with_cancel();
  context b = a;
  const weft::recv_chan<> done = a.done();
  auto first = start([&] { a = context(); });
  auto second = start([&] { b = context(); });
  parent.cancel();
  first.join();
  second.join();
  expect(done.try_recv() == weft::chan_status::closed, "somebody has closed it");
}

MODEL(context_child_cancelled_and_parent, "a child is cancelled, and taken off its parent, while that is cancelled") {
  const context parent = context::background().with_cancel();
  const context child = parent.with_cancel();
  auto other = start([&] { child.cancel(std::make_exception_ptr(1)); });
  parent.cancel(std::make_exception_ptr(2));
  other.join();
  expect(child.err() && parent.err() && cause_of(parent) == 2, "both are done");
  const int n = cause_of(child);
  expect(n == 1 || n == 2, "one of the two causes");
}

MODEL(context_after_func_stop_against_cancel, "a function is called or stopped, not both, and not neither") {
  const context c = context::background().with_cancel();
  int calls = 0;
  const auto r = context::after_func(c, [&] { ++calls; });
  bool stopped = false;
  auto stops = start([&] { stopped = r.stop(); });
  c.cancel();
  stops.join();
  expect(calls == (stopped ? 0 : 1), "one of the two");
}

MODEL(context_err_of_a_leaf, "one that nothing hangs on is cancelled: who sees that sees why") {
  const context c = context::background().with_cancel();
  auto cancels = start([&] { c.cancel(); });
  if (const std::error_code e = c.err()) expect(e == weft::context_errc::canceled, "the error is there");
  cancels.join();
}

MODEL(context_done_asked_for_twice, "two ask for the channel at once: both can use it", .preemptions = 2) {
  const context c = context::background().with_cancel();
  auto asks = start([&] { expect(c.done().try_recv() == weft::chan_status::would_block, "it is open"); });
  expect(c.done().try_recv() == weft::chan_status::would_block, "it is open");
  asks.join();
}

MODEL(context_done_made_while_it_closes, "a channel that is made while a context with others below ends is closed",
      .preemptions = 2) {
  const context c = context::background().with_cancel();
  const context below = c.with_cancel();
  auto cancels = start([&] { c.cancel(); });
  expect(!c.done().recv(), "closed");
  cancels.join();
}

// A deadline of no runtime comes when a thread of the model says so, which stands for the keeper of those.
class outside {
 public:
  outside() { rt::the_process.outside_served.store(true, rt::release); }
  ~outside() {
    while (rt::the_process.outside_threads.load(rt::acquire) != 0) rt::os::pause();
    rt::the_process.outside_timers.give_back_memory();
  }
  outside(const outside&) = delete;
  outside& operator=(const outside&) = delete;
  const weft::clock::time_point at{std::chrono::hours(1)};
  void comes() const { rt::fire_outside(at.time_since_epoch().count()); }
};

bool is_closed(const weft::recv_chan<>& done) { return done.try_recv() == weft::chan_status::closed; }

MODEL(context_last_share_against_deadline, "the last handle goes while its deadline comes: it is not lost") {
  const outside timers;
  context c = context::background().with_deadline(timers.at);
  const weft::recv_chan<> done = c.done();
  auto keeper = start([&] { timers.comes(); });
  c = context();
  keeper.join();
  expect(is_closed(done), "whoever watches hears of it");
}

MODEL(context_last_share_below_against_deadline, "and of one that has a parent", .preemptions = 2) {
  const outside timers;
  const context parent = context::background().with_cancel();
  context c = parent.with_deadline(timers.at);
  const weft::recv_chan<> done = c.done();
  auto keeper = start([&] { timers.comes(); });
  c = context();
  keeper.join();
  expect(is_closed(done), "whoever watches hears of it");
}

MODEL(context_last_share_unwatched_against_deadline,
      "one that nobody watches is freed once, by its timer or by who has let go", .preemptions = 2) {
  const outside timers;
  context c = context::background().with_cancel().with_deadline(timers.at);
  auto keeper = start([&] { timers.comes(); });
  c = context();
  keeper.join();
}

MODEL(context_parent_goes_against_deadline,
      "the deadline of an owned one comes while its parent is destroyed: one of them takes it off the list",
      .preemptions = 2) {
  const outside timers;
  context parent = context::background().with_cancel();
  const weft::recv_chan<> done = parent.with_deadline(timers.at).done();
  auto keeper = start([&] { timers.comes(); });
  parent = context();
  keeper.join();
}

MODEL(context_owned_deadline_against_cancel,
      "the deadline of an owned one comes while its parent is cancelled, and goes: it is done when cancel returns",
      .preemptions = 2) {
  const outside timers;
  context parent = context::background().with_cancel();
  const weft::recv_chan<> done = parent.with_deadline(timers.at).done();
  auto keeper = start([&] { timers.comes(); });
  parent.cancel();
  expect(is_closed(done), "by one of them, before cancel returns");
  parent = context();
  keeper.join();
}

MODEL(context_owned_pair_against_cancel,
      "two that are owned, one below the other, and a second walk that begins in the middle", .preemptions = 2) {
  context top = context::background().with_cancel();
  context middle = top.with_cancel();
  const weft::recv_chan<> done = middle.with_cancel().done();
  auto other = start([&] { middle = context(); });
  top.cancel();
  top = context();
  other.join();
  expect(is_closed(done), "the walk has reached it");
}

MODEL(context_sweep_against_take,
      "whoever leaves one to a list looks for those that nobody can see, while a walk takes them", .preemptions = 2) {
  const context parent = context::background().with_cancel();
  context second = parent.with_cancel();
  const weft::recv_chan<> kept = second.done();
  { const weft::recv_chan<> forgotten = parent.with_cancel().done(); }
  auto drops = start([&] { second = context(); });
  parent.cancel();
  drops.join();
  expect(is_closed(kept), "the one that is seen is closed");
}

MODEL(context_sweep_against_deadline, "and while the deadline of one that nobody can see comes", .preemptions = 2) {
  const outside timers;
  const context parent = context::background().with_cancel();
  context second = parent.with_cancel();
  const weft::recv_chan<> kept = second.done();
  { const weft::recv_chan<> forgotten = parent.with_deadline(timers.at).done(); }
  auto keeper = start([&] { timers.comes(); });
  second = context();
  keeper.join();
}

MODEL(context_sweep_against_one_below, "whether anybody sees it is asked while one below it ends, and leaves its list",
      .preemptions = 2) {
  const outside timers;
  const context parent = context::background().with_cancel();
  const weft::recv_chan<> below = parent.with_cancel().with_deadline(timers.at).done();
  context second = parent.with_cancel();
  const weft::recv_chan<> kept = second.done();
  auto keeper = start([&] { timers.comes(); });
  second = context();
  keeper.join();
  expect(is_closed(below), "whoever watches hears of it");
}

// What the program's code does there must find the root settled, and nothing left half done.
MODEL(context_value_dies_in_a_walk,
      "the last handle of one below goes while the walk has a share; its value cancels again", .preemptions = 2) {
  struct dies {
    context root;
    ~dies() { root.cancel(); }
  };
  const context root = context::background().with_cancel();
  context below = root.with_value("k", std::shared_ptr<dies>(new dies{root})).with_cancel();
  weft::recv_chan<> done = below.done();
  auto drops = start([&] {
    below = context();
    done = nullptr;
  });
  root.cancel();
  drops.join();
}

}  // namespace
