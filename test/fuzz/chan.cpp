// fuzz_chan: streams of channel operations by several goroutines, each compared with a reference of a page.
//
// Use    fuzz_chan                      so many random streams (FUZZ_STREAMS, 3000) of TEST_SEED
//        fuzz_chan FILE...              these streams; one that fails prints itself as hexadecimal, FILE of which replays it
//        clang, preset fuzz             a libFuzzer target
//
// One P, and actors that do one operation each when they are told: after each command the driver yields until nobody can
// run, so what has happened is determined, but for which of several ready cases a select took. The reference is told that
// one, and must find it among those that were ready; all else it foretells: who went on, with what, and what is in the buffers.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "weft/chan.hpp"
#include "weft/error.hpp"
#include "weft/go.hpp"
#include "weft/run.hpp"
#include "weft/select.hpp"
#include "weft/wait_group.hpp"

namespace {

constexpr int channels = 4;  // the last one is nil
constexpr int actors = 5;
constexpr std::size_t most_cases = 4;

struct a_case {
  int chan = 0;
  bool sends = false;
  int value = 0;
};

enum class outcome { ok, closed, would_block, threw };

struct done {
  outcome how;
  std::size_t index = 0;
  int value = -1;  // received; -1: none
  friend bool operator==(const done&, const done&) = default;
};

struct command {
  enum kind { plain, select, close } what = plain;
  bool block = true;
  std::vector<a_case> cases;
};

// ---- the reference

class reference {
 public:
  explicit reference(std::array<int, channels> capacity) {
    for (int i = 0; i < channels; ++i) at_[i].capacity = static_cast<std::size_t>(capacity[i]);
  }

  bool ready(const a_case& c) const {
    if (c.chan == channels - 1) return false;
    const channel& ch = at_[c.chan];
    if (ch.closed) return true;
    return c.sends ? !ch.receivers.empty() || ch.buffer.size() < ch.capacity
                   : !ch.senders.empty() || !ch.buffer.empty();
  }

  // Which case a select took that waited until now, for those that have several cases on one channel: any of them may happen.
  void heard(int actor, std::size_t index) { heard_[static_cast<std::size_t>(actor)] = index; }

  // Who goes on because of it, the caller included. `took`: the case that the caller took, if it goes on.
  std::vector<std::pair<int, done>> start(int actor, const command& cmd, std::optional<std::size_t> took) {
    std::vector<std::pair<int, done>> all;
    if (cmd.what == command::close) {
      close(cmd.cases[0].chan, actor, all);
      return all;
    }
    const bool any = std::any_of(cmd.cases.begin(), cmd.cases.end(), [&](const a_case& c) { return ready(c); });
    if (any && took && ready(cmd.cases[*took])) {
      happen(actor, *took, cmd.cases[*took], all);
    } else if (!any && !cmd.block) {
      all.push_back({actor, {outcome::would_block}});
    } else if (!any) {
      for (std::size_t i = 0; i < cmd.cases.size(); ++i) {
        const a_case& c = cmd.cases[i];
        if (c.chan == channels - 1) continue;
        (c.sends ? at_[c.chan].senders : at_[c.chan].receivers).push_back({actor, i, c.value});
      }
    }
    return all;
  }

  std::size_t size(int c) const { return at_[c].buffer.size(); }

  // Who waits for nothing but what can never come is let go at the end.
  bool waits(int actor) const {
    return std::any_of(at_.begin(), at_.end(), [&](const channel& c) {
      const auto is = [&](const waiting& w) { return w.actor == actor; };
      return std::any_of(c.senders.begin(), c.senders.end(), is) ||
             std::any_of(c.receivers.begin(), c.receivers.end(), is);
    });
  }

 private:
  struct waiting {
    int actor;
    std::size_t index;
    int value;
  };
  struct channel {
    std::size_t capacity = 0;
    bool closed = false;
    std::deque<int> buffer;
    std::deque<waiting> senders, receivers;
  };

  // The oldest waiter, by the case that it says it took, if that is one of its cases here; it waits no longer.
  waiting take_first(std::deque<waiting>& q) {
    waiting w = q.front();
    for (const waiting& other : q) {
      if (other.actor == w.actor && heard_[static_cast<std::size_t>(w.actor)] == other.index) w = other;
    }
    leave_all(w.actor);
    return w;
  }

  void leave_all(int actor) {
    for (channel& c : at_) {
      std::erase_if(c.senders, [&](const waiting& w) { return w.actor == actor; });
      std::erase_if(c.receivers, [&](const waiting& w) { return w.actor == actor; });
    }
  }

  void happen(int actor, std::size_t index, const a_case& c, std::vector<std::pair<int, done>>& all) {
    channel& ch = at_[c.chan];
    if (c.sends) {
      if (ch.closed) {
        all.push_back({actor, {outcome::threw}});
      } else if (!ch.receivers.empty()) {
        const waiting w = take_first(ch.receivers);
        all.push_back({w.actor, {outcome::ok, w.index, c.value}});
        all.push_back({actor, {outcome::ok, index}});
      } else {
        ch.buffer.push_back(c.value);
        all.push_back({actor, {outcome::ok, index}});
      }
      return;
    }
    if (!ch.buffer.empty()) {
      all.push_back({actor, {outcome::ok, index, ch.buffer.front()}});
      ch.buffer.pop_front();
      if (!ch.senders.empty()) {
        const waiting w = take_first(ch.senders);
        ch.buffer.push_back(w.value);
        all.push_back({w.actor, {outcome::ok, w.index}});
      }
    } else if (!ch.senders.empty()) {
      const waiting w = take_first(ch.senders);
      all.push_back({actor, {outcome::ok, index, w.value}});
      all.push_back({w.actor, {outcome::ok, w.index}});
    } else {
      all.push_back({actor, {outcome::closed, index}});
    }
  }

  void close(int chan, int actor, std::vector<std::pair<int, done>>& all) {
    channel& ch = at_[chan];
    if (chan == channels - 1 || ch.closed) {
      all.push_back({actor, {outcome::threw}});
      return;
    }
    ch.closed = true;
    all.push_back({actor, {outcome::ok}});
    while (!ch.receivers.empty()) {
      const waiting w = take_first(ch.receivers);
      all.push_back({w.actor, {outcome::closed, w.index}});
    }
    while (!ch.senders.empty()) {
      const waiting w = take_first(ch.senders);
      all.push_back({w.actor, {outcome::threw}});
    }
  }

  std::array<channel, channels> at_;
  std::array<std::optional<std::size_t>, actors> heard_;
};

// ---- elements: one that is bytes, one with a heap of its own, one that only moves, one that takes its time to be large

template <class T>
struct element;
template <>
struct element<int> {
  static int make(int v) { return v; }
  static int value(const int& v) { return v; }
};
template <>
struct element<std::string> {
  static std::string make(int v) { return std::string(40, 'x') + std::to_string(v); }
  static int value(const std::string& s) { return std::atoi(s.c_str() + 40); }
};
template <>
struct element<std::unique_ptr<int>> {
  static std::unique_ptr<int> make(int v) { return std::make_unique<int>(v); }
  static int value(const std::unique_ptr<int>& p) { return *p; }
};
struct alignas(64) large {
  std::array<int, 500> all;
};
template <>
struct element<large> {
  static large make(int v) {
    large l;
    l.all.fill(v);
    return l;
  }
  static int value(const large& l) { return l.all.front() == l.all.back() ? l.all[250] : -2; }
};

// ---- the real thing

template <class T>
class player {
 public:
  explicit player(std::array<int, channels> capacity) {
    for (int i = 0; i + 1 < channels; ++i) chan_[i] = weft::chan<T>(capacity[static_cast<std::size_t>(i)]);
    chan_[channels - 1] = nullptr;
    for (int i = 0; i < actors; ++i) {
      all_.go([this, i] { act(actor_[static_cast<std::size_t>(i)]); });
    }
    settle();
  }

  bool idle(int i) const { return !actor_[static_cast<std::size_t>(i)].busy; }

  // Who has gone on since, in no particular order.
  std::vector<std::pair<int, done>> give(int i, const command& cmd) {
    actor& a = actor_[static_cast<std::size_t>(i)];
    a.cmd = cmd;
    a.busy = true;
    a.orders.send();
    settle();
    std::vector<std::pair<int, done>> all;
    for (int k = 0; k < actors; ++k) {
      actor& each = actor_[static_cast<std::size_t>(k)];
      if (!each.result) continue;
      all.push_back({k, *each.result});
      each.result.reset();
    }
    return all;
  }

  std::size_t size(int c) const { return chan_[static_cast<std::size_t>(c)].size(); }

  // Lets everybody go. Those that wait on nil only are cancelled with the runtime.
  void end() {
    for (actor& a : actor_) a.orders.close();
  }

 private:
  struct actor {
    weft::chan<> orders{1};
    command cmd;
    bool busy = false;
    std::optional<done> result;
    std::optional<T> received;  // what was in it before a select is of no matter
  };

  static void settle() {
    for (int i = 0; i < 4 * actors; ++i) weft::yield();
  }

  void act(actor& a) {
    while (a.orders.recv()) {
      const done d = operate(a);
      a.result = d;
      a.busy = false;
    }
  }

  done operate(actor& a) {
    const command& cmd = a.cmd;
    try {
      if (cmd.what == command::close) {
        chan_[static_cast<std::size_t>(cmd.cases[0].chan)].close();
        return {outcome::ok};
      }
      return cmd.what == command::select ? selects(a) : plain(a);
    } catch (const weft::error&) {
      return {outcome::threw};
    }
  }

  done plain(actor& a) {
    const a_case& c = a.cmd.cases[0];
    const weft::chan<T>& ch = chan_[static_cast<std::size_t>(c.chan)];
    if (c.sends) {
      T value = element<T>::make(c.value);
      if (a.cmd.block) {
        ch.send(std::move(value));
        return {outcome::ok};
      }
      switch (ch.try_send(std::move(value))) {
        case weft::chan_status::ok: return {outcome::ok};
        case weft::chan_status::closed: return {outcome::threw};  // what a blocking one does
        case weft::chan_status::would_block: break;
      }
      if (element<T>::value(value) != c.value) return {outcome::ok, 99};  // taken all the same
      return {outcome::would_block};
    }
    if (a.cmd.block) {
      const std::optional<T> v = ch.recv();
      return v ? done{outcome::ok, 0, element<T>::value(*v)} : done{outcome::closed};
    }
    switch (ch.try_recv(a.received)) {
      case weft::chan_status::ok: return {outcome::ok, 0, element<T>::value(*a.received)};
      case weft::chan_status::closed: return a.received ? done{outcome::ok, 98} : done{outcome::closed};
      case weft::chan_status::would_block: break;
    }
    return {outcome::would_block};
  }

  done selects(actor& a) {
    const command& cmd = a.cmd;
    std::vector<T> values;
    for (const a_case& c : cmd.cases) values.push_back(element<T>::make(c.value));
    std::vector<weft::select_case> cases;
    for (std::size_t i = 0; i < cmd.cases.size(); ++i) {
      const weft::chan<T>& ch = chan_[static_cast<std::size_t>(cmd.cases[i].chan)];
      cases.push_back(cmd.cases[i].sends ? weft::send(ch, std::move(values[i])) : weft::recv(ch, a.received));
    }
    std::optional<std::size_t> took;
    if (cmd.block) {
      took = weft::select(std::span<const weft::select_case>(cases));
    } else {
      took = weft::try_select(std::span<const weft::select_case>(cases));
    }
    // A value that was not sent is where it was.
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (took != i && element<T>::value(values[i]) != cmd.cases[i].value) return {outcome::ok, 97};
    }
    if (!took) return {outcome::would_block};
    if (cmd.cases[*took].sends) return {outcome::ok, *took};
    return a.received ? done{outcome::ok, *took, element<T>::value(*a.received)} : done{outcome::closed, *took};
  }

  std::array<weft::chan<T>, channels> chan_;
  std::array<actor, actors> actor_;
  weft::wait_group all_;
};

class bytes {
 public:
  explicit bytes(std::span<const std::uint8_t> all) : all_(all) {}
  bool more() const { return at_ < all_.size(); }
  unsigned next() { return more() ? all_[at_++] : 0; }

 private:
  std::span<const std::uint8_t> all_;
  std::size_t at_ = 0;
};

std::string describe(const std::vector<std::pair<int, done>>& all) {
  std::string text;
  for (const auto& [actor, d] : all) {
    constexpr const char* names[] = {"ok", "closed", "would block", "threw"};
    text += " actor " + std::to_string(actor) + " " + names[static_cast<int>(d.how)] + " case " +
            std::to_string(d.index) + " value " + std::to_string(d.value) + ';';
  }
  return text.empty() ? " nobody" : text;
}

// Empty: all as foretold. `stage`: what the actors still use when this has returned; they are unwound with the runtime.
template <class T>
std::string play(bytes in, std::shared_ptr<void>& stage) {
  std::array<int, channels> capacity{};
  for (int i = 0; i + 1 < channels; ++i) capacity[static_cast<std::size_t>(i)] = static_cast<int>(in.next() % 4);
  reference ref(capacity);
  const auto real = std::make_shared<player<T>>(capacity);
  stage = real;
  const auto wrong = [](int step, const std::string& what) { return "step " + std::to_string(step) + ": " + what; };
  for (int step = 0; in.more(); ++step) {
    const int actor = static_cast<int>(in.next() % actors);
    if (!real->idle(actor)) continue;
    command cmd;
    const unsigned what = in.next();
    cmd.block = (what & 3) == 0;  // seldom: who waits does nothing else until somebody comes
    cmd.what = what / 4 == 63 ? command::close : (what & 64) != 0 ? command::select : command::plain;
    const std::size_t n = cmd.what == command::select ? 1 + in.next() % most_cases : 1;
    for (std::size_t i = 0; i < n; ++i) {
      const unsigned c = in.next();
      cmd.cases.push_back({static_cast<int>(c / 2 % channels), (c & 1) != 0, step * 10 + static_cast<int>(i)});
    }
    std::vector<std::pair<int, done>> happened = real->give(actor, cmd);
    std::optional<std::size_t> took;
    for (const auto& [who, d] : happened) {
      if (who != actor || cmd.what == command::close) continue;
      if (d.how == outcome::threw) {  // which send it was cannot be seen: any to a closed channel
        for (std::size_t i = 0; i < n; ++i) {
          if (cmd.cases[i].sends && ref.ready(cmd.cases[i])) took = took ? took : i;
        }
        for (std::size_t i = 0; i < n; ++i) {
          reference tried = ref;
          if (!ref.ready(cmd.cases[i]) || !cmd.cases[i].sends) continue;
          const auto all = tried.start(actor, cmd, i);
          if (all.size() == 1 && all[0].second.how == outcome::threw) took = i;
        }
      } else if (d.how != outcome::would_block && d.index < n) {
        took = d.index;
      }
    }
    for (const auto& [who, d] : happened) ref.heard(who, d.index);
    std::vector<std::pair<int, done>> foretold = ref.start(actor, cmd, took);
    const auto by_actor = [](const auto& a, const auto& b) { return a.first < b.first; };
    std::sort(happened.begin(), happened.end(), by_actor);
    std::sort(foretold.begin(), foretold.end(), by_actor);
    if (happened != foretold) return wrong(step, "happened:" + describe(happened) + " foretold:" + describe(foretold));
    for (int c = 0; c < channels; ++c) {
      if (real->size(c) != ref.size(c)) {
        return wrong(step, "channel " + std::to_string(c) + " has " + std::to_string(real->size(c)) + " values, not " +
                               std::to_string(ref.size(c)));
      }
    }
    for (int k = 0; k < actors; ++k) {
      if (real->idle(k) && ref.waits(k)) return wrong(step, "actor " + std::to_string(k) + " does not wait");
    }
  }
  real->end();
  return {};
}

std::string play_any(std::span<const std::uint8_t> stream) {
  bytes in(stream);
  weft::options o;
  o.procs = 1;
  o.deadlock = weft::toggle(false);
  std::string wrong;
  std::shared_ptr<void> stage;
  weft::run(o, [&] {
    switch (in.next() % 4) {
      case 0: wrong = play<int>(in, stage); break;
      case 1: wrong = play<std::string>(in, stage); break;
      case 2: wrong = play<std::unique_ptr<int>>(in, stage); break;
      case 3: wrong = play<large>(in, stage); break;
    }
  });
  return wrong;
}

[[noreturn]] void report(const std::string& wrong, std::span<const std::uint8_t> stream) {
  std::fprintf(stderr, "fuzz_chan: %s\nstream: ", wrong.c_str());
  for (const std::uint8_t b : stream) std::fprintf(stderr, "%02x", b);
  std::fprintf(stderr, "\n");
  std::abort();
}

}  // namespace

#ifdef WEFT_LIBFUZZER
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::span<const std::uint8_t> stream(data, size);
  if (const std::string wrong = play_any(stream); !wrong.empty()) report(wrong, stream);
  return 0;
}
#else
int main(int argc, char** argv) {
  for (int i = 1; i < argc; ++i) {
    std::vector<std::uint8_t> stream;
    const std::string hex = argv[i];
    for (std::size_t at = 0; at + 1 < hex.size(); at += 2) {
      stream.push_back(static_cast<std::uint8_t>(std::stoi(hex.substr(at, 2), nullptr, 16)));
    }
    if (const std::string wrong = play_any(stream); !wrong.empty()) report(wrong, stream);
  }
  if (argc > 1) return 0;
  const char* seed_text = std::getenv("TEST_SEED");
  const unsigned long seed = seed_text != nullptr ? std::strtoul(seed_text, nullptr, 0) : 1;
  const char* streams_text = std::getenv("FUZZ_STREAMS");
  const long streams = streams_text != nullptr ? std::strtol(streams_text, nullptr, 0) : 3000;
  std::mt19937_64 random(seed);
  for (long i = 0; i < streams; ++i) {
    std::vector<std::uint8_t> stream(5 + random() % 300);
    for (std::uint8_t& b : stream) b = static_cast<std::uint8_t>(random());
    if (const std::string wrong = play_any(stream); !wrong.empty()) report(wrong, stream);
  }
  std::printf("fuzz_chan: %ld streams of seed %lu, all as foretold\n", streams, seed);
}
#endif
