// sim: a whole goroutine program under every schedule that a search can think of, on one thread, in the library that is
// linked anyway. The program is unchanged code.
//
//   weft::sim::explore({.runs = 1000}, [] { …create mutexes, start goroutines, wait, weft::sim::check(…)… });
//
// The body is called once per run, as the main goroutine. Whatever it shares between goroutines it creates itself: what
// outlives a run is the same in no two of them. Between two calls of the runtime a goroutine is not interrupted:
// weft::sim::point() is how a variable that no lock guards becomes visible to the search. docs/reference/sim.md.
#pragma once
#include <chrono>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "weft/detail/config.hpp"
#include "weft/detail/text.hpp"

namespace weft {
inline namespace v0 {
namespace sim {

/// Who goes next at each scheduling point. None finds everything; the portfolio alternates the first three.
enum class strategy : std::uint8_t {
  portfolio,    ///< pos, pct with depth 2 to depth + 1, and random, in turns
  random,       ///< any goroutine that can go on
  pct,          ///< random priorities, and depth - 1 random points at which the running goroutine loses its own
  pos,          ///< a random priority for each pending operation; those that race draw again
  round_robin,  ///< each in turn; random only in what is not a question of who goes next
  exhaustive,   ///< one after the other, all with at most depth preemptions; for small programs: summary::complete
};

struct options {
  /// Of this exploration, such as "journal.two_writers": stands before its seeds, so that WEFT_SIM_SEED is for it alone
  /// and the program's others run as ever. Read until explore returns.
  detail::text name = {};
  /// WEFT_SIM_RUNS
  int runs = 1000;
  /// Ends the exploration after so much real time, if the runs are not done before; 0: no limit. WEFT_SIM_TIME
  std::chrono::nanoseconds time{0};
  sim::strategy strategy = sim::strategy::portfolio;
  /// Of pct, 1 to 14: a bug that needs so many things in a certain order. Of exhaustive, 0 to 14: how often a goroutine
  /// is stopped that could have gone on; 0: without a limit.
  int depth = 3;
  /// What the seeds of the runs are made from: the same seed, the same runs.
  std::uint64_t seed = 1;
  /// A run with more scheduling points than this fails as endless.
  std::uint64_t max_steps = 100'000;
  /// Looks for the fewest switches with which it still fails.
  bool minimize = false;
  /// Repeats the first and each 256th run, and fails if it went another way.
  bool check_determinism = true;
};

struct summary {
  int runs = 0;               ///< done; repetitions are not counted
  int distinct = 0;           ///< schedules among them
  std::uint64_t steps = 0;    ///< scheduling points in all of them
  std::uint64_t longest = 0;  ///< scheduling points of the longest run
  bool complete = false;      ///< by strategy::exhaustive: there are no more schedules
  std::uint32_t choices = 0;  ///< when a choice string was replayed: how many it has
  std::uint32_t applied = 0;  ///< and how many of them fitted
};

enum class failure_kind : std::uint8_t {
  deadlock,        ///< main cannot go on, and nobody else can
  leak,            ///< main has returned, and those that are left can never go on
  check,           ///< sim::check(false)
  exception,       ///< one that nobody caught, or std::terminate
  endless,         ///< options::max_steps
  always,          ///< sim::always
  eventually,      ///< sim::eventually
  foreign,         ///< the program woke a plain thread
  nondeterminism,  ///< the same schedule went another way
};
WEFT_EXPORT const char* to_text(failure_kind k) noexcept;

/// What explore and run throw when a run has failed. what() is the whole report. When an exception was the reason, it
/// is nested (std::rethrow_if_nested).
class WEFT_EXPORT failure : public std::runtime_error {
 public:
  failure(failure_kind kind, int runs, sim::strategy found_by, std::uint64_t seed, std::string replay,
          std::string choices, std::string schedule, const std::string& report);
  failure_kind kind() const noexcept { return kind_; }
  /// Done until then, this one included; 1 when a seed or a choice string was replayed.
  int runs() const noexcept { return runs_; }
  /// Of the run that failed; portfolio when choices were replayed, which follow none.
  sim::strategy strategy() const noexcept { return strategy_; }
  /// Of the run that failed; run(seed(), body) repeats it. 0 when choices were replayed, and of an exhaustive search.
  std::uint64_t seed() const noexcept { return seed_; }
  /// The seed with the name of the exploration, if it has one, and the fingerprint of the program, for WEFT_SIM_SEED:
  /// another program notices that it is not meant.
  const std::string& replay() const noexcept { return replay_; }
  /// The switches that make it fail, by name; those that matter, if it was minimized. For run and WEFT_SIM_SEED.
  const std::string& choices() const noexcept { return choices_; }
  /// Who did what, a line per step; loops are folded.
  const std::string& schedule() const noexcept { return schedule_; }
  std::string report() const { return what(); }

 private:
  failure_kind kind_;
  int runs_;
  sim::strategy strategy_;
  std::uint64_t seed_;
  std::string replay_, choices_, schedule_;
};

}  // namespace sim

namespace detail {

struct program {
  void (*call)(void*);
  void* arg;
};
// The address of an object or a function, and the way back.
template <class F>
void* address_of(F& f) noexcept {
  if constexpr (std::is_function_v<F>) {
    return reinterpret_cast<void*>(&f);
  } else {
    return const_cast<void*>(static_cast<const volatile void*>(__builtin_addressof(f)));
  }
}
template <class F>
decltype(auto) call_at(void* at) {
  return (*reinterpret_cast<std::add_pointer_t<F>>(at))();
}
template <class F>
program program_of(F& f) noexcept {
  return {[](void* arg) { static_cast<void>(call_at<F>(arg)); }, address_of(f)};
}
WEFT_EXPORT sim::summary sim_explore(const sim::options& o, program p);
WEFT_EXPORT sim::summary sim_run(std::uint64_t seed, program p);
WEFT_EXPORT sim::summary sim_run(text seed_or_choices, program p);
WEFT_EXPORT void sim_watch(program pred, bool (*holds)(void*), void (*drop)(void*), text what);
WEFT_EXPORT void sim_point();
WEFT_EXPORT void sim_wait(void* pred, bool (*holds)(void*), std::int64_t within, text what);

}  // namespace detail

namespace sim {

/// Calls body in o.runs schedules, or until a schedule fails.
///   Takes     anything that can be called again and again.
///   Throws    failure; weft::error for bad options, bad WEFT_SIM_… variables, inside a goroutine, and while another
///             exploration runs in this process.
///   Env       WEFT_SIM_SEED: that run only. WEFT_SIM_RUNS, WEFT_SIM_TIME: instead of the options. WEFT_SIM_TRACE=1:
///             prints each step.
template <class F>
summary explore(const options& o, F&& body) {
  return detail::sim_explore(o, detail::program_of(body));
}
template <class F>
summary explore(F&& body) {
  return detail::sim_explore(options{}, detail::program_of(body));
}

/// One run: of that seed (any number is one), or of a seed or choice string as failure gives it.
///   Throws    failure; weft::error for text that is neither, or when the seed is another program's.
template <class F>
summary run(std::uint64_t seed, F&& body) {
  return detail::sim_run(seed, detail::program_of(body));
}
template <class F>
summary run(detail::text seed_or_choices, F&& body) {
  return detail::sim_run(seed_or_choices, detail::program_of(body));
}

/// Fails the run unless it holds. The calling goroutine does not go on then, and nobody else does.
/// Outside an exploration it throws weft::error instead.
WEFT_EXPORT void check(bool holds, detail::text what = "sim::check");

/// True on a goroutine of an exploration.
WEFT_EXPORT bool active() noexcept;

/// Others may come between what stands before it and what stands after it: beside each use of a variable that no lock
/// guards. It gives way to nobody, so a loop that waits needs yield. Nothing outside an exploration.
inline void point() {
  if (detail::door_open()) [[unlikely]]
    detail::sim_point();
}

/// Waits until no other goroutine can go on without the caller, or without time passing. Throws weft::error outside an
/// exploration.
WEFT_EXPORT void settle();

/// Virtual time since the run began. Throws weft::error outside an exploration.
WEFT_EXPORT std::chrono::nanoseconds now();

/// From now on holds() is asked at every scheduling point, until the goroutine that called this has ended; the run
/// fails when it is false. It must not call the runtime. Throws weft::error outside an exploration.
template <class P>
void always(P holds, detail::text what = "sim::always") {
  P* kept = new P(static_cast<P&&>(holds));
  detail::sim_watch(
      {nullptr, kept}, [](void* p) { return static_cast<bool>((*static_cast<P*>(p))()); },
      [](void* p) { delete static_cast<P*>(p); }, what);
}

/// Waits until holds() is true, asking whenever the others have had their turn; the run fails when that has not come
/// within that (virtual) time. Throws weft::error outside an exploration.
template <class P>
void eventually(P&& holds, std::chrono::nanoseconds within, detail::text what = "sim::eventually") {
  using F = std::remove_reference_t<P>;
  detail::sim_wait(
      detail::address_of(holds), [](void* p) { return static_cast<bool>(detail::call_at<F>(p)); }, within.count(),
      what);
}

/// A place where something rare may happen, by name. In a quarter of the runs the name is on, and then a call returns
/// true with probability p. Always false outside an exploration.
///   Throws    weft::error for p outside [0, 1], and for a name that is empty or contains a comma, an equals sign or
///             white space.
WEFT_EXPORT bool buggify(detail::text name, double p = 0.25);

}  // namespace sim
}  // namespace v0
}  // namespace weft
