// engine: one run of a program in an exploration, on one thread: at every scheduling point it says who goes on.
//
//   a goroutine reaches a point ─▶ on_point ─▶ decide ┬▶ itself: returns
//                                                      └▶ another: direct switch
//   a goroutine parks or ends ─▶ g0 ─▶ find_runnable ─▶ on_next ─▶ decide ─▶ execute
//                                                          ├▶ nobody: those who settle, then time jumps to a sleeper
//                                                          └▶ nothing at all: the end, a deadlock or a leak
//
// State  runnable_: all that can go on, by the time since which they can, the running one at a point last. A goroutine
//        that has yielded is a candidate only when it is the first: then all that could go on when it yielded have had
//        a step (the rule of CHESS; without it a search starves those who poll). That is so for each k-th yield of a
//        goroutine only, and k comes from the seed: with k of 1 no schedule would have two yields of one goroutine
//        between two steps of another, and a yield is also how a variable becomes visible to the search.
// Order  only numbers decide: goroutines by creation, operations by occurrence. Addresses are compared for being the
//        same at one moment, never ordered, hashed or printed: a run is the same in every process.
// Never  run a user's code on g0.
#pragma once
#include <cstdint>
#include <exception>
#include <string>
#include <unordered_map>
#include <vector>

#include "explore/strategy.hpp"
#include "model/timer.hpp"
#include "observe/traceback.hpp"
#include "sched/exploration.hpp"
#include "sim/choices.hpp"
#include "weft/sim.hpp"

namespace weft::rt::lab {

inline constexpr std::uint32_t ops = static_cast<std::uint32_t>(op::count_);

// What a run is told.
struct orders {
  explore::strategy* strategy = nullptr;  // has begun; null: `choices` or the plain schedule
  const choice_list* choices = nullptr;
  std::uint64_t seed = 0;     // for buggify
  bool ask_for_bugs = false;  // whether a buggify fires is the strategy's decision
  std::uint32_t fair_every = 1;
  std::uint64_t max_steps = 0;
  bool record = false;  // for a report
  bool frames = false;  // with record: where in the program each goroutine is, which takes milliseconds
  bool log = false;     // for comparing two runs
  bool others = false;  // who else could have gone on, at each step
  bool print = false;   // each step to stderr
};

// A step as two runs are compared by it.
struct log_entry {
  std::uint32_t actor;
  op what;
  std::uint32_t candidates;
  friend bool operator==(const log_entry&, const log_entry&) = default;
};

enum class outcome : std::uint8_t { none, waits, refused };

struct event {
  std::uint64_t step;
  std::int64_t time;  // virtual, since the run began
  std::uint32_t actor;
  op what;
  std::uint32_t object;  // 0: none
  bool woken;            // goes on from an operation in which it has waited
  bool switched;         // another goroutine ran before
  outcome result;
  std::int64_t lasts = 0;   // a sleep
  std::uint32_t fired = 0;  // not a step: buggify has returned true, as choice number so
};

// A goroutine, in a report.
struct portrait {
  std::uint32_t actor = 0;
  std::string name;
  std::string state;
  op what = op::none;
  std::uint32_t object = 0;
  std::uint32_t holder = 0;
  std::uint64_t since = 0;
  std::uint32_t parent = 0;
  const void* gopc = nullptr;
  creator at;             // the innermost call of the program's, if it is known
  bool at_point = false;  // before the operation; else it has gone on from there
  bool woken = false;     // from waiting in it, and has not gone on
  bool ended = false;
};

struct result {
  bool failed = false;
  v0::sim::failure_kind kind = {};
  std::string text;
  std::uint32_t actor = 0;  // who failed; 0: nobody in particular
  std::exception_ptr cause;
  std::uint64_t hash = 0;  // of every decision
  std::uint64_t steps = 0;
  std::uint32_t picks = 0;  // steps at which there was a choice
  std::uint32_t applied = 0;
  // With orders::record
  choice_list choices;
  std::vector<event> events;
  std::vector<portrait> goroutines;
  // With orders::others: the choices that were not taken, with their step
  std::vector<std::pair<std::uint64_t, choice>> others;
  // With orders::log
  std::vector<log_entry> log;
};

class engine : public exploration {
 public:
  engine();
  ~engine();
  engine(const engine&) = delete;
  engine& operator=(const engine&) = delete;

  result run(const orders& o, v0::detail::program p);

  // ---- called on goroutines of the run, outside the door
  [[noreturn]] void fail(g* gp, v0::sim::failure_kind kind, std::string text, std::exception_ptr cause = {});
  void settle(g* gp);
  void watch(g* gp, v0::detail::program pred, bool (*holds)(void*), void (*drop)(void*), std::string what);
  void wait_until(g* gp, void* pred, bool (*holds)(void*), std::int64_t within, std::string_view what);
  bool buggify(const std::string& name, double p);
  std::int64_t since_start() const;

 private:
  struct actor {
    g* gp = nullptr;
    op what = op::start;
    const void* object = nullptr;
    std::uint32_t object_number = 0;
    std::uint32_t waits = 0;
    bool yielded = false;  // fairly: it lets the others have a step first
    std::uint32_t yields = 0;
    std::uint64_t idle_in = 0;  // the last stretch in which it has yielded
    bool woken = false;
    bool at_point = false;
    bool ended = false;
    std::uint32_t last_event = 0;
    std::uint64_t since = 0;
    const void* gopc = nullptr;
    std::uint32_t parent = 0;
    std::uint32_t nth[ops] = {};
  };
  struct watched {
    std::uint32_t owner;
    void* pred;
    bool (*holds)(void*);
    void (*drop)(void*);
    std::string what;
  };
  // Numbers for the objects of a run in the order in which they were first touched. Read by other threads, under
  // the_process.explore_lock; so it changes under it only.
  class object_table {
   public:
    std::uint32_t number(const void* object);  // gives one
    std::uint32_t find(const void* object) const;
    void clear();
    // Those in static storage are what they were when the run first touched them.
    void set_back() const;

   private:
    struct slot {
      const void* object = nullptr;
      std::uint32_t number = 0;
      std::uint32_t round = 0;
      std::uint64_t before = 0;  // its word when it was first touched
    };
    std::size_t place_of(const void* object) const;
    void grow();
    std::vector<slot> slots_ = std::vector<slot>(64);
    std::uint32_t used_ = 0;
    std::uint32_t round_ = 1;
  };

  static constexpr std::uint32_t nowhere = ~std::uint32_t{0};

  void begin(const orders& o);
  void on_point(g* gp, op what, const void* object);
  g* on_next();
  std::uint32_t decide(std::uint32_t current, const place& at);
  std::uint32_t directed(std::uint32_t plain, const place& at);
  void take_step(std::uint32_t chosen, bool switched);
  void drain();
  void pass_time();
  void fire(timer* t);
  void find_due();
  void fire_due(bool somebody);  // somebody: there is one who could go on before, beside those in runnable_
  std::uint32_t choose_at(const place& at, std::uint32_t n, std::uint32_t object);
  p_timers& timers() const;
  void switch_from(g* gp, g* to);
  g* take_out(std::uint32_t position);
  void enqueue(g* gp);
  void ask(g* gp);
  void drop_watches(std::uint32_t owner);
  std::uint32_t choose_case(g* gp, std::uint32_t n);
  void set_failure(std::uint32_t who, v0::sim::failure_kind kind, std::string text);
  void finish();
  portrait portrait_of(const actor& a);
  void print_step(const event& e);
  actor& of(const g* gp);
  static void main_body(void* self);
  static void nothing(void*) {}

  explored_runtime rt_;
  orders orders_;
  v0::detail::program program_{};
  result result_;
  std::vector<actor> actors_;
  std::vector<std::uint32_t> runnable_;
  std::vector<explore::candidate> candidates_;
  std::vector<std::uint32_t> positions_;  // of the candidates, in runnable_
  std::vector<timer*> due_;      // find_due: those of the time that it is, in the order in which they were armed
  std::uint32_t due_asked_ = 0;  // how often that order was a choice
  std::vector<g*> settlers_;
  std::vector<watched> watches_;
  std::vector<std::pair<std::string, std::uint32_t>> bugs_;  // calls of buggify by name
  std::unordered_map<std::uint64_t, std::uint32_t> switches_;
  std::unordered_map<std::uint32_t, std::uint32_t> holders_;  // of mutexes, by object; when recording
  std::unordered_map<std::uint32_t, std::string> names_;      // also of those that have ended; when recording
  object_table objects_;
  std::uint32_t running_ = nowhere;
  // Since somebody began or ceased to be able to go on: a stretch. Time passes in one only if everybody who can go on has
  // yielded in it: whoever works without waiting does so while the clock stands still.
  std::uint32_t lone_yields_ = 0;
  std::uint64_t stretch_ = 1;
  void begin_stretch() {
    lone_yields_ = 0;
    ++stretch_;
  }
  bool asking_ = false;
  bool main_returned_ = false;
};

// a verb and its object, for people: "semaphore acquire #1"; in a column: "acquire #1"
std::string describe(op what, std::uint32_t object, bool in_column = false);
// The text of an exception, with its type.
std::string describe(const std::exception_ptr& e);

}  // namespace weft::rt::lab
