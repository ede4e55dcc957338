// Go's programs over channels, as programs of our own: doubleselect, goroutines (the daisy chain), sieve1, sieve2, powser1,
// peano, and a few shapes that users write. Each runs small in a thousand explored schedules, and larger on 1, 2, 4 and 16 Ps.
#include <gtest/gtest.h>

#include <atomic>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <queue>
#include <vector>

#include "support/goroutines.hpp"
#include "support/runtime_fixture.hpp"
#include "weft/sim.hpp"
#include "weft/weft.hpp"

namespace {

using namespace weft;
using test::run_case;

const test::run_options several_ps{{1, 2, 4, 16}, 1};

template <class F>
void on_real_threads(F body) {
  test::for_each_case([&](const run_case&) { body(); }, several_ps);
}

// A program has a thousand schedules in which to go wrong.
template <class F>
void in_every_schedule(const char* name, F body) {
  if (testing::Test::HasFailure()) return;
  test::set_watchdog(static_cast<unsigned>(test::number_from_env("TEST_TIMEOUT", 60)));
  try {
    const sim::summary s = sim::explore({.name = name, .runs = test::scaled(1000), .max_steps = 1'000'000}, [&] {
      body();
      sim::check(!testing::Test::HasFailure(), "what the test expects");
    });
    EXPECT_GT(s.distinct, s.runs / 2) << "the schedules are hardly different";
  } catch (const sim::failure& f) {
    ADD_FAILURE() << f.what();
  }
  test::clear_watchdog();
}

// ---- doubleselect: a select that sends to four channels never sends a value twice

void no_value_is_sent_by_two_cases(int values) {
  const std::vector<chan<int>> each{chan<int>(), chan<int>(), chan<int>(), chan<int>()};
  const chan<int> merged;
  wait_group all, merging;
  all.go([&] {
    for (int i = 0; i < values; ++i) select(send(each[0], i), send(each[1], i), send(each[2], i), send(each[3], i));
    for (const chan<int>& c : each) c.close();
  });
  for (const chan<int>& c : each) {
    merging.go([&merged, c] {
      for (int v : c) merged.send(v);
    });
  }
  all.go([&] {
    merging.wait();
    merged.close();
  });
  std::vector<int> times(static_cast<std::size_t>(values));
  for (int v : merged) ++times[static_cast<std::size_t>(v)];
  all.wait();
  for (int v = 0; v < values; ++v) EXPECT_EQ(times[static_cast<std::size_t>(v)], 1) << "value " << v;
}

TEST(chan_programs, doubleselect) {
  on_real_threads([] { no_value_is_sent_by_two_cases(test::scaled(20'000)); });
  in_every_schedule("doubleselect", [] { no_value_is_sent_by_two_cases(4); });
}

// ---- goroutines: a daisy chain

int through_a_chain(int n) {
  recv_chan<int> right;
  const chan<int> leftmost;
  chan<int> left = leftmost;
  wait_group all;
  for (int i = 0; i < n; ++i) {
    const chan<int> next;
    all.go([left, next] { left.send(1 + *next.recv()); });
    left = next;
  }
  all.go([left] { left.send(0); });
  const int sum = *leftmost.recv();
  all.wait();
  return sum;
}

TEST(chan_programs, a_daisy_chain_of_ten_thousand_goroutines) {
  on_real_threads([] {
    const int n = test::scaled(10'000);
    EXPECT_EQ(through_a_chain(n), n);
  });
  in_every_schedule("daisy_chain", [] { EXPECT_EQ(through_a_chain(6), 6); });
}

// ---- programs without an end of their own

struct finished {};

// Goroutines that work until nobody wants anything more of them.
class workshop {
 public:
  workshop() = default;
  ~workshop() {
    done_.close();
    all_.wait();
  }
  workshop(const workshop&) = delete;
  workshop& operator=(const workshop&) = delete;

  template <class F>
  void go(F f) {
    all_.go([f]() mutable {
      try {
        f();
      } catch (const finished&) {
      }
    });
  }
  template <class T>
  void put(const send_chan<T>& to, const T& value) const {
    if (select(send(to, value), recv(done_)) != 0) throw finished();
  }
  template <class T>
  T get(const recv_chan<T>& from) const {
    std::optional<T> value;
    if (select(recv(from, value), recv(done_)) != 0) throw finished();
    return *value;
  }
  void signal(const send_chan<>& to) const {
    if (select(send(to), recv(done_)) != 0) throw finished();
  }
  void await(const recv_chan<>& from) const {
    if (select(recv(from), recv(done_)) != 0) throw finished();
  }

 private:
  const chan<> done_;
  wait_group all_;
};

std::vector<int> primes_by_division(std::size_t n) {
  std::vector<int> primes;
  for (int i = 2; primes.size() < n; ++i) {
    bool is_prime = true;
    for (const int p : primes) is_prime = is_prime && i % p != 0;
    if (is_prime) primes.push_back(i);
  }
  return primes;
}

// ---- sieve1: a filter for each prime

std::vector<int> primes_by_filters(std::size_t n) {
  workshop w;
  chan<int> numbers;
  w.go([&w, numbers] {
    for (int i = 2;; ++i) w.put<int>(numbers, i);
  });
  std::vector<int> primes;
  while (primes.size() < n) {
    const int prime = *numbers.recv();
    primes.push_back(prime);
    const chan<int> filtered;
    w.go([&w, in = numbers, filtered, prime] {
      for (;;) {
        const int v = w.get<int>(in);
        if (v % prime != 0) w.put<int>(filtered, v);
      }
    });
    numbers = filtered;
  }
  return primes;
}

TEST(chan_programs, sieve_by_a_chain_of_filters) {
  on_real_threads([] {
    const auto n = static_cast<std::size_t>(test::scaled(200));
    EXPECT_EQ(primes_by_filters(n), primes_by_division(n));
  });
  in_every_schedule("sieve1", [] { EXPECT_EQ(primes_by_filters(4), primes_by_division(4)); });
}

// ---- sieve2: a stream of multiples for each prime, merged in order; what is not among them is prime

// From its square on.
recv_chan<int> multiples(workshop& w, int prime) {
  const chan<int> out(4);
  w.go([&w, out, prime] {
    for (int m = prime * prime;; m += prime) w.put<int>(out, m);
  });
  return out;
}

// All composite numbers in order, each as often as it has prime divisors up to its root. A prime's stream joins when its
// square is due; the primes come from whoever finds them with the help of this.
recv_chan<int> composites(workshop& w, const recv_chan<int>& primes) {
  const chan<int> out(4);
  w.go([&w, out, primes] {
    using head = std::pair<int, std::size_t>;
    std::priority_queue<head, std::vector<head>, std::greater<>> next;
    std::vector<recv_chan<int>> streams;
    for (int prime = w.get(primes);;) {
      if (next.empty() || prime * prime <= next.top().first) {
        streams.push_back(multiples(w, prime));
        next.emplace(w.get(streams.back()), streams.size() - 1);
        prime = w.get(primes);
        continue;
      }
      const auto [value, from] = next.top();
      next.pop();
      w.put<int>(out, value);
      next.emplace(w.get(streams[from]), from);
    }
  });
  return out;
}

std::vector<int> primes_by_merging(std::size_t n) {
  workshop w;
  const chan<int> found(n);  // they run ahead of their multiples
  const recv_chan<int> not_prime = composites(w, found);
  std::vector<int> primes;
  const auto add = [&](int prime) {
    primes.push_back(prime);
    found.send(prime);
  };
  add(2);
  add(3);
  int composite = *not_prime.recv();
  for (int i = 4; primes.size() < n; ++i) {
    while (composite < i) composite = *not_prime.recv();
    if (composite != i) add(i);
  }
  return primes;
}

TEST(chan_programs, sieve_by_merged_multiples) {
  on_real_threads([] {
    const auto n = static_cast<std::size_t>(test::scaled(500));
    EXPECT_EQ(primes_by_merging(n), primes_by_division(n));
  });
  in_every_schedule("sieve2", [] { EXPECT_EQ(primes_by_merging(5), primes_by_division(5)); });
}

// ---- powser1: power series whose coefficients are computed when somebody asks for them

struct rational {
  std::int64_t num = 0, den = 1;

  rational() = default;
  rational(std::int64_t n, std::int64_t d = 1) : num(d < 0 ? -n : n), den(d < 0 ? -d : d) {
    const std::int64_t g = std::gcd(num, den);
    num /= g;
    den /= g;
  }
  friend rational operator+(const rational& a, const rational& b) {
    const std::int64_t g = std::gcd(a.den, b.den);
    return {a.num * (b.den / g) + b.num * (a.den / g), a.den / g * b.den};
  }
  friend rational operator*(const rational& a, const rational& b) {
    const rational x(a.num, b.den), y(b.num, a.den);  // cancelled before they are multiplied
    return {x.num * y.num, x.den * y.den};
  }
  friend bool operator==(const rational&, const rational&) = default;
  friend void PrintTo(const rational& r, std::ostream* os) { *os << r.num << '/' << r.den; }
};

// Whoever asks gets the next coefficient.
struct series {
  chan<> ask;
  chan<rational> answer;
};

class calculus {
 public:
  rational next(const series& s) const {
    w_.signal(s.ask);
    return w_.get<rational>(s.answer);
  }
  std::vector<rational> first(std::size_t n, const series& s) const {
    std::vector<rational> all;
    while (all.size() < n) all.push_back(next(s));
    return all;
  }

  // f(0), f(1), …
  template <class F>
  series by_index(F f) {
    return made([f](const calculus& in, const series& out) {
      for (std::int64_t i = 0;; ++i) in.give(out, [&] { return rational(f(i)); });
    });
  }
  series sum(const series& u, const series& v) {
    return made([u, v](const calculus& in, const series& out) {
      for (;;) in.give(out, [&] { return in.next(u) + in.next(v); });
    });
  }
  series times(const rational& c, const series& u) {
    return made([c, u](const calculus& in, const series& out) {
      for (;;) in.give(out, [&] { return c * in.next(u); });
    });
  }
  // (u0 + x U)(v0 + x V) = u0 v0 + x (u0 V + v0 U) + x^2 U V
  series product(const series& u, const series& v) {
    return made([this, u, v](const calculus& in, const series& out) {
      rational u0, v0;
      in.give(out, [&] {
        u0 = in.next(u);
        v0 = in.next(v);
        return u0 * v0;
      });
      const std::vector<series> us = copies(2, u), vs = copies(2, v);
      const series linear = sum(times(u0, vs[0]), times(v0, us[0]));
      in.give(out, [&] { return in.next(linear); });
      const series square = product(us[1], vs[1]);
      for (;;) in.give(out, [&] { return in.next(linear) + in.next(square); });
    });
  }
  series derivative(const series& u) {
    return made([u](const calculus& in, const series& out) {
      in.next(u);
      for (std::int64_t k = 1;; ++k) in.give(out, [&] { return rational(k) * in.next(u); });
    });
  }
  void integral(const rational& constant, const series& u, const series& into) {
    make(into, [constant, u](const calculus& in, const series& out) {
      in.give(out, [&] { return constant; });
      for (std::int64_t k = 1;; ++k) in.give(out, [&] { return rational(1, k) * in.next(u); });
    });
  }
  // That many series that are all the same. Each is at its own place in what has been seen so far; whoever goes beyond that
  // fetches one more. (A goroutine for each: the coefficient that one of them waits for may be computed by way of another.)
  std::vector<series> copies(std::size_t n, const series& of) {
    struct memory {
      mutex fetching, reading;
      std::deque<rational> seen;
      std::optional<rational> at(std::size_t k) {
        const std::lock_guard hold(reading);
        return k < seen.size() ? std::optional(seen[k]) : std::nullopt;
      }
    };
    const auto shared = std::make_shared<memory>();
    std::vector<series> all;
    for (std::size_t i = 0; i < n; ++i) {
      all.push_back(made([shared, of](const calculus& in, const series& out) {
        for (std::size_t k = 0;; ++k) {
          in.give(out, [&] {
            if (const std::optional<rational> known = shared->at(k)) return *known;
            const std::lock_guard one_at_a_time(shared->fetching);
            if (const std::optional<rational> known = shared->at(k)) return *known;
            const rational value = in.next(of);
            const std::lock_guard hold(shared->reading);
            shared->seen.push_back(value);
            return value;
          });
        }
      }));
    }
    return all;
  }
  // Z = exp U, u0 = 0: Z' = Z U', Z(0) = 1.
  series exponential(const series& u) {
    const series z;
    const std::vector<series> zs = copies(2, z);
    integral(1, product(zs[0], derivative(u)), z);
    return zs[1];
  }
  // T' = 1 + T^2, T(0) = 0.
  series tangent() {
    const series t;
    const std::vector<series> ts = copies(3, t);
    integral(0, sum(by_index([](std::int64_t i) { return i == 0 ? 1 : 0; }), product(ts[0], ts[1])), t);
    return ts[2];
  }

 private:
  template <class Value>
  void give(const series& s, Value value) const {
    w_.await(s.ask);
    w_.put<rational>(s.answer, value());
  }
  template <class Rule>
  void make(const series& s, Rule rule) {
    w_.go([this, s, rule] { rule(*this, s); });
  }
  template <class Rule>
  series made(Rule rule) {
    const series s;
    make(s, rule);
    return s;
  }

  workshop w_;
};

using coefficients = std::vector<rational>;

void check_series(std::size_t n) {
  const auto cut = [n](coefficients all) {
    all.resize(std::min(all.size(), n));
    return all;
  };
  const auto one = [](std::int64_t) { return 1; };
  const auto x = [](std::int64_t i) { return i == 1 ? 1 : 0; };
  {
    calculus c;
    EXPECT_EQ(c.first(n, c.product(c.by_index(one), c.by_index(one))), cut({1, 2, 3, 4, 5, 6, 7, 8, 9, 10}))
        << "1/(1-x)^2";
  }
  {
    calculus c;
    EXPECT_EQ(c.first(n, c.exponential(c.by_index(x))),
              cut({1, 1, {1, 2}, {1, 6}, {1, 24}, {1, 120}, {1, 720}, {1, 5040}, {1, 40320}, {1, 362880}}));
  }
  {
    calculus c;
    EXPECT_EQ(c.first(n, c.tangent()), cut({0, 1, 0, {1, 3}, 0, {2, 15}, 0, {17, 315}, 0, {62, 2835}}));
  }
  if (n < 10) return;
  calculus c;
  const series minus = c.exponential(c.times(-1, c.by_index(x)));
  EXPECT_EQ(c.first(n, c.product(c.exponential(c.by_index(x)), minus)), (coefficients{1, 0, 0, 0, 0, 0, 0, 0, 0, 0}))
      << "exp(x) exp(-x)";
}

TEST(chan_programs, power_series) {
  on_real_threads([] { check_series(10); });
  in_every_schedule("powser1", [] { check_series(3); });
}

// ---- peano: numbers that are chains, arithmetic that is recursion, and channels at the bottom of deep stacks

struct natural {
  const natural* before;  // null for 0
};

class arithmetic {
 public:
  // Called where the recursion is deepest.
  explicit arithmetic(std::function<void()> at_the_bottom = [] {}) : at_the_bottom_(std::move(at_the_bottom)) {}

  const natural* after(const natural* n) { return &numbers_.emplace_back(natural{n}); }
  [[gnu::noinline]] const natural* sum(const natural* a, const natural* b) {
    return b->before == nullptr ? a : after(sum(a, b->before));
  }
  [[gnu::noinline]] const natural* product(const natural* a, const natural* b) {
    return b->before == nullptr ? zero() : sum(product(a, b->before), a);
  }
  [[gnu::noinline]] const natural* factorial(const natural* n) {
    return n->before == nullptr ? after(zero()) : product(factorial(n->before), n);
  }
  [[gnu::noinline]] std::int64_t value(const natural* n) {
    if (n->before == nullptr) {
      at_the_bottom_();
      return 0;
    }
    return 1 + value(n->before);
  }
  const natural* zero() { return &numbers_.emplace_back(natural{nullptr}); }
  const natural* of(int n) { return n == 0 ? zero() : after(of(n - 1)); }

 private:
  std::deque<natural> numbers_;
  std::function<void()> at_the_bottom_;
};

// Goroutines that meet in a channel, each under so many frames.
void factorials(int n, bool borrowed) {
  const chan<std::int64_t> results;
  const chan<> meet;
  wait_group all;
  std::int64_t expected = 1;
  for (int i = 2; i <= n; ++i) expected *= i;
  for (int i = 0; i < 2; ++i) {
    const auto calculate = [&, i] {
      arithmetic a([&, i] {
        if (i == 0) {
          meet.send();
        } else {
          meet.recv();
        }
      });
      results.send(a.value(a.factorial(a.of(n))));
    };
    all.add(1);
    go(attrs{.stack_size = std::size_t{borrowed ? 256u << 10 : 8u << 20}}, [&, calculate] {
      if (borrowed) {
        on_big_stack(calculate);
      } else {
        calculate();
      }
      all.done();
    });
  }
  EXPECT_EQ(results.recv(), expected);
  EXPECT_EQ(results.recv(), expected);
  all.wait();
}

TEST(chan_programs, peano_numbers_on_deep_stacks) {
  constexpr int n = test::built_with_sanitizer ? 7 : 8;
  on_real_threads([] {
    factorials(n, false);
    factorials(n, true);
  });
  if (testing::Test::HasFailure()) return;
  sim::explore({.name = "peano", .runs = test::scaled(1000)}, [] {
    factorials(4, false);
    sim::check(!testing::Test::HasFailure(), "what the test expects");
  });
}

}  // namespace
