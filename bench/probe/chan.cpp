// The probe's operations on channels, selects and contended locks.
#include <weft/weft.hpp>

#include <cstdio>
#include <cstdlib>
#include <functional>
#include <mutex>
#include <optional>

#include "probe/rounds.hpp"

namespace bench {
namespace {

// A partner that sends back what it gets.
void chan_round_trip(int rounds, std::uint64_t n) {
  const weft::chan<std::uint64_t> there, back;
  weft::go([there, back] {
    for (const std::uint64_t v : there) back.send(v);
  });
  loop(rounds, n, [&] {
    there.send(1);
    if (back.recv() != 1) std::abort();
  });
  there.close();
}

// `pairs` producers and as many consumers around one channel; a round is n items.
void through(int rounds, std::uint64_t n, std::ptrdiff_t capacity, std::uint64_t pairs) {
  const weft::chan<std::uint64_t> c(capacity);
  weft::wait_group consumers;
  for (std::uint64_t i = 0; i < pairs; ++i) {
    consumers.go([c] {
      for (const std::uint64_t v : c) {
        if (v != 1) std::abort();
      }
    });
  }
  for (int r = 0; r < rounds; ++r) {
    round_of(n, [&] {
      weft::wait_group producers;
      for (std::uint64_t i = 0; i < pairs; ++i) {
        producers.go([c, n, pairs] {
          for (std::uint64_t k = 0; k < n / pairs; ++k) c.send(1);
        });
      }
      producers.wait();
      while (c.size() != 0) weft::yield();  // what is left in the buffer is this round's, too
    });
  }
  c.close();
  consumers.wait();
}
void chan_buffered(int rounds, std::uint64_t n) { through(rounds, n, 100, 1); }
void chan_buffered_10(int rounds, std::uint64_t n) { through(rounds, n, 10, 1); }
void chan_buffered_4x4(int rounds, std::uint64_t n) { through(rounds, n, 100, 4); }

// A value goes round a ring of goroutines: an operation is one hop.
void chan_ring(int rounds, std::uint64_t size) {
  const weft::chan<std::uint64_t> first;
  weft::chan<std::uint64_t> in = first;
  for (std::uint64_t i = 1; i < size; ++i) {
    const weft::chan<std::uint64_t> out;
    weft::go([in, out] {
      for (const std::uint64_t v : in) out.send(v);
      out.close();
    });
    in = out;
  }
  const std::uint64_t turns = 10'000 / size + 1;
  for (int r = 0; r < rounds; ++r) {
    round_of(turns * size, [&] {
      for (std::uint64_t i = 0; i < turns; ++i) {
        first.send(1);
        if (in.recv() != 1) std::abort();
      }
    });
  }
  first.close();
}

// One goroutine sends to four channels in turn, another receives from them by select.
void select_from_four(int rounds, std::uint64_t n, std::ptrdiff_t capacity) {
  using chan = weft::chan<std::uint64_t>;
  const chan c[4] = {chan(capacity), chan(capacity), chan(capacity), chan(capacity)};
  const weft::chan<> end;
  weft::go([c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], end] {
    const chan all[4] = {c0, c1, c2, c3};
    for (std::uint64_t i = 0;; ++i) {
      if (weft::select(weft::send(all[i & 3], 1), weft::recv(end)) == 1) return;
    }
  });
  std::optional<std::uint64_t> v;
  loop(rounds, n, [&] {
    weft::select(weft::recv(c[0], v), weft::recv(c[1], v), weft::recv(c[2], v), weft::recv(c[3], v));
    if (v != 1) std::abort();
  });
  end.close();
}

// The same with a plain send: what is measured is one select and one send.
void select_plain(int rounds, std::uint64_t n, std::ptrdiff_t capacity) {
  using chan = weft::chan<std::uint64_t>;
  const chan c[4] = {chan(capacity), chan(capacity), chan(capacity), chan(capacity)};
  const weft::chan<std::uint64_t> items(1);
  weft::go([c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3], items] {
    const chan all[4] = {c0, c1, c2, c3};
    for (const std::uint64_t batch : items) {
      for (std::uint64_t i = 0; i < batch; ++i) all[i & 3].send(1);
    }
  });
  std::optional<std::uint64_t> v;
  for (int r = 0; r < rounds; ++r) {
    round_of(n, [&] {
      items.send(n);
      for (std::uint64_t i = 0; i < n; ++i) {
        weft::select(weft::recv(c[0], v), weft::recv(c[1], v), weft::recv(c[2], v), weft::recv(c[3], v));
        if (v != 1) std::abort();
      }
    });
  }
  items.close();
}
void select_buffered(int rounds, std::uint64_t n) { select_plain(rounds, n, 100); }
void select_unbuffered(int rounds, std::uint64_t n) { select_plain(rounds, n, 0); }
void select_both_sides(int rounds, std::uint64_t n) { select_from_four(rounds, n, 100); }

// SIZE goroutines that lock, yield and unlock.
void mutex_contended(int rounds, std::uint64_t goroutines) {
  constexpr std::uint64_t each = 100;
  for (int r = 0; r < rounds; ++r) {
    weft::mutex m;
    weft::wait_group all;
    round_of(goroutines * each, [&] {
      for (std::uint64_t i = 0; i < goroutines; ++i) {
        all.go([&m] {
          for (std::uint64_t k = 0; k < each; ++k) {
            const std::lock_guard hold(m);
            weft::yield();
          }
        });
      }
      all.wait();
    });
  }
}

// A million leaves in a tree of ten each, their numbers added up over channels. An operation is the whole, in nanoseconds
// per leaf: 180 of them are 180 ms.
void skynet_leaf(const weft::chan<std::uint64_t>& out, std::uint64_t number, std::uint64_t size) {
  if (size == 1) {
    out.send(number);
    return;
  }
  const weft::chan<std::uint64_t> in(10);
  for (std::uint64_t i = 0; i < 10; ++i) {
    weft::go([in, number, size, i] { skynet_leaf(in, number + i * (size / 10), size / 10); });
  }
  std::uint64_t sum = 0;
  for (int i = 0; i < 10; ++i) sum += *in.recv();
  out.send(sum);
}
void chan_skynet(int rounds, std::uint64_t leaves) {
  for (int r = 0; r < rounds; ++r) {
    round_of(leaves, [&] {
      const weft::chan<std::uint64_t> result;
      weft::go([&] { skynet_leaf(result, 0, leaves); });
      if (*result.recv() != leaves * (leaves - 1) / 2) std::abort();
    });
  }
}

double resident_bytes() {
  std::FILE* f = std::fopen("/proc/self/smaps_rollup", "r");
  char text[1000];
  unsigned long long kib = 0;
  while (f != nullptr && std::fgets(text, sizeof text, f) != nullptr && std::sscanf(text, "Rss: %llu", &kib) != 1) {
  }
  if (f != nullptr) std::fclose(f);
  return static_cast<double>(kib) * 1024;
}

// n goroutines that wait in one channel, and are woken by its close. `what` of the three is the result.
enum class of_parked { bytes, creation, end };
void parked_on_a_channel(std::uint64_t n, of_parked what) {
  const weft::chan<> gate;
  weft::wait_group all;
  const double before = resident_bytes();
  const double begun = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  for (std::uint64_t i = 0; i < n; ++i) {
    all.go([gate] { gate.recv(); });
    if (i % 100 == 99) weft::yield();
  }
  weft::yield();
  const double waiting = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  const double bytes = resident_bytes() - before;
  const double closing = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  gate.close();
  all.wait();
  const double over = nanoseconds(CLOCK_PROCESS_CPUTIME_ID);
  const double total = what == of_parked::bytes      ? bytes
                       : what == of_parked::creation ? waiting - begun
                                                     : over - closing;
  seen.wall.push_back(total / static_cast<double>(n));
}
void chan_parked_bytes(int, std::uint64_t n) { parked_on_a_channel(n, of_parked::bytes); }
void chan_parked_creation(int, std::uint64_t n) { parked_on_a_channel(n, of_parked::creation); }
void chan_parked_end(int, std::uint64_t n) { parked_on_a_channel(n, of_parked::end); }

}  // namespace

const std::vector<operation> channel_operations = {
    {"chan_round_trip", chan_round_trip, "operations in a round"},
    {"chan_buffered", chan_buffered, "items in a round"},
    {"chan_buffered_10", chan_buffered_10, "items in a round"},
    {"chan_buffered_4x4", chan_buffered_4x4, "items in a round"},
    {"chan_ring", chan_ring, "goroutines in the ring"},
    {"select_buffered", select_buffered, "items in a round"},
    {"select_unbuffered", select_unbuffered, "items in a round"},
    {"select_both_sides", select_both_sides, "items in a round"},
    {"mutex_contended", mutex_contended, "goroutines"},
    {"chan_skynet", chan_skynet, "leaves"},
    {"chan_parked_bytes", chan_parked_bytes, "goroutines"},
    {"chan_parked_creation", chan_parked_creation, "goroutines"},
    {"chan_parked_end", chan_parked_end, "goroutines"},
};

}  // namespace bench
