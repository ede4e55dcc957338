// model: how a test for the checker is written. One function, run thousands of times, each time as another execution:
//
//   MODEL(note_wakes, "a signal before the sleep is not lost") {
//     note n;
//     auto t = check::start([&] { n.wakeup(); });
//     n.sleep();
//     t.join();
//   }
//
// It must be deterministic but for check::choose, and must free what it allocates. Threads of the model are fibres, so
// it may use neither real threads nor real time. What it expects it says with check::expect.
#pragma once
#include <cstdint>
#include <new>
#include <utility>

#include "checker/machine.hpp"

namespace weft::check {

// How a model wants to be searched when the command line says nothing.
struct limits {
  bool sample = false;              // too large to be walked to the end: a portfolio, for a time
  std::uint32_t preemptions = ~0u;  // exhaustive, up to so many
  std::uint32_t max_steps = 20000;
  std::uint32_t spurious = 0;
  std::uint32_t timeouts = ~0u;  // that come while others can go on
};

struct model {
  const char* name;
  const char* claim;
  void (*body)();
  limits want;
  model* next = nullptr;
  model(const char* n, const char* c, void (*b)(), limits l = {});
};

// NOLINTNEXTLINE(bugprone-macro-parentheses)
#define MODEL(name, claim, ...)                                                           \
  static void model_##name();                                                             \
  static ::weft::check::model model_of_##name(#name, claim, model_##name, {__VA_ARGS__}); \
  static void model_##name()

class started {
 public:
  explicit started(std::uint32_t thread) : thread_(thread) {}
  void join() { check::join(thread_, 0); }
  std::uint32_t number() const { return thread_; }

 private:
  std::uint32_t thread_;
};

// The callable lives in the caller's frame: join before it goes.
template <class F>
[[nodiscard]] started start(F& f) {
  return started(spawn([](void* p) { (*static_cast<F*>(p))(); }, &f, 0));
}

// The same for a temporary: copied to the model's heap.
template <class F>
[[nodiscard]] started start(F&& f) requires(!std::is_lvalue_reference_v<F>) {
  auto* kept = new F(std::move(f));
  return started(spawn(
      [](void* p) {
        auto* g = static_cast<F*>(p);
        (*g)();
        delete g;
      },
      kept, 0));
}

int run_models(int argc, char** argv);

inline void expect(bool holds, const char* claim) {
  if (!holds) fail("expected: %s", claim);
}

}  // namespace weft::check
