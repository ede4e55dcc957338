// A future's word: whoever waits in it, or in the table, against the result, a timeout, and a select's channel. On plain threads.
#include "weft/future.hpp"

#include "model/fabric.hpp"
#include "model/waits.hpp"
#include "sched/park.hpp"

namespace {

using namespace weft::check;
namespace rt = weft::rt;
using weft::v0::detail::future_state;
using state = weft::v0::detail::result_of<int>;

state* new_state(std::uint32_t shares) {
  auto* s = new state;
  s->refs = shares;
  return s;
}
void drop(state* s) { weft::v0::detail::drop_result(s); }

// As the goroutine whose result it is.
void fulfil(state* s, int value) {
  s->set([&] { return value; });
  s->what = weft::v0::detail::outcome::value;
  weft::v0::detail::future_settle(s);
  drop(s);
}

int get(state* s) {
  weft::v0::detail::future_wait(s);
  const int n = s->value;
  drop(s);
  return n;
}

MODEL(future_wait_against_result, "who waits gets the result, and the state goes with the last share", .spurious = 1) {
  state* s = new_state(2);
  auto makes = start([&] { fulfil(s, 7); });
  expect(get(s) == 7, "the result");
  makes.join();
}

MODEL(future_two_waiters, "one in the word, one in the table: both go on", .preemptions = 2) {
  state* s = new_state(3);
  auto makes = start([&] { fulfil(s, 7); });
  auto other = start([&] { expect(get(s) == 7, "the result"); });
  expect(get(s) == 7, "the result");
  makes.join();
  other.join();
}

MODEL(future_three_waiters, "and three", .sample = true) {
  state* s = new_state(4);
  auto a = start([&] { expect(get(s) == 7, "the result"); });
  auto b = start([&] { expect(get(s) == 7, "the result"); });
  auto makes = start([&] { fulfil(s, 7); });
  expect(get(s) == 7, "the result");
  a.join();
  b.join();
  makes.join();
}

MODEL(future_timeout_against_result, "a timeout takes the wait, or comes too late") {
  state* s = new_state(2);
  const next_wait wait;
  bool took = false;
  auto makes = start([&] { fulfil(s, 7); });
  auto timeout = start([&] { took = wait.take(rt::wait_result::timed_out); });
  // For ever, but for the timeout.
  weft::v0::detail::future_wait(s);
  makes.join();
  timeout.join();
  expect(took || s->value == 7, "it went on for one of the two");
  drop(s);
}

MODEL(future_channel_against_result, "a channel that is made while the result comes is closed") {
  state* s = new_state(2);
  auto makes = start([&] { fulfil(s, 7); });
  weft::v0::detail::hchan* c = weft::v0::detail::future_done(s);
  weft::v0::detail::chan_recv(c, nullptr, nullptr);
  expect(s->value == 7, "and the result is there");
  makes.join();
  drop(s);
}

MODEL(future_two_channels, "two ask for the channel: they get one", .preemptions = 2) {
  state* s = new_state(3);
  auto makes = start([&] { fulfil(s, 7); });
  weft::v0::detail::hchan* mine = nullptr;
  auto other = start([&] {
    mine = weft::v0::detail::future_done(s);
    weft::v0::detail::chan_recv(mine, nullptr, nullptr);
  });
  weft::v0::detail::hchan* c = weft::v0::detail::future_done(s);
  weft::v0::detail::chan_recv(c, nullptr, nullptr);
  other.join();
  makes.join();
  expect(c == mine, "one channel");
  drop(s);
  drop(s);
}

}  // namespace
