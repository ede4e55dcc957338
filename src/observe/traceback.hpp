// traceback: the frames of a stack, and how a report prints them. Go's form (GO-BEHAVIOUR E2).
//
// Taking the frames allocates nothing and is safe in a signal handler; giving them names is not, which is why
// the two are apart. The stack of a goroutine that does not run is walked by libdw, from its gobuf: the
// system's unwinder starts where it is called, nowhere else.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>

#include "model/g.hpp"
#include "observe/symbolize.hpp"

namespace weft::rt {

class line;

struct frame {
  std::uintptr_t pc = 0;
  bool interrupted = false;  // by a signal, at this very instruction; otherwise pc is a return address
  bool stops = false;        // noexcept here, or in a catch (...): an exception comes no further (take_with_stops)
  std::uintptr_t look_up() const { return interrupted ? pc : pc - 1; }
};

// The innermost and the outermost frames of a stack. A runaway recursion has a million between them.
class stack_frames {
 public:
  static constexpr std::size_t inner_max = 50;
  static constexpr std::size_t outer_max = 50;

  // Of the caller. In a signal handler, `interrupted` takes only those below the signal.
  void take_sig(bool interrupted = false);
  // The same with frame::stops, for which each frame's table of handlers is read. Not in a signal handler.
  void take_with_stops();
  // Of a goroutine that has a stack and is not on it. False: not possible.
  bool take_parked(const g& gp, const symbolizer& names);
  // Of a thread that was at `from`; what `copy` has of its stack is as it was then. False: not possible.
  bool take_at(const cpu_state& from, const symbolizer& names, const memory_copy& copy);
  // This one alone, when more is not to be had.
  void take_one(frame f);
  // Adds what take_sig missed: clang's helper for noexcept functions has no unwind information.
  void go_on(const symbolizer& names);

  std::size_t size() const { return inner_n_ + (beyond_ < outer_max ? beyond_ : outer_max); }
  // 0 is the innermost.
  frame at(std::size_t i) const;
  // How many are missing before frame i. Not zero for one i at most.
  std::size_t elided_before(std::size_t i) const;
  // The walk was given up: the outermost frames are not the stack's.
  bool cut() const { return cut_; }
  void set_cut() { cut_ = true; }
  // The outermost frame is the first one of a goroutine: nothing is missing there.
  bool at_base(const symbolizer& names) const;

 private:
  friend struct walk;
  void add(frame f);
  static bool add_parked(std::uintptr_t pc, void* self);

  frame inner_[inner_max];
  frame outer_[outer_max];  // ring of the last ones
  std::size_t inner_n_ = 0;
  std::size_t beyond_ = 0;  // frames after inner_
  bool cut_ = false;
  bool exact_ = false;  // the innermost one, when a walk adds it
  cpu_state last_;      // at the outermost frame
};

// goroutine 7 [semacquire, 2 minutes, locked to thread] "uploader": Go's grammar, and the name. Negative: nobody knows
// for how long.
void add_title(line& to, const g& gp, const char* state, std::int64_t waited_ns = -1);
const char* state_text(const g& gp);
// Of the goroutine that the report is made on: it runs, also when it has lost its P.
inline constexpr const char* running_text = "running";
// goroutine 7 "uploader"
void add_who(line& to, const g& gp);
//  "uploader", with the space; nothing if it has no name
void add_name(line& to, const g& gp);

// Prints frames[from..] with their names; `done` says which are done, to whoever goes on after a crash.
// The runtime's own frames at the outer end are left out, for a `waiting` goroutine those at the inner end too.
void print_frames(const stack_frames& frames, std::size_t from, const symbolizer& names, std::size_t* done,
                  bool waiting = false);
std::string frames_text(const stack_frames& frames, const symbolizer& names);
// The same without names: addresses, and where they are in their module.
void print_frames_sig(const stack_frames& frames, std::size_t from);

// created by main in goroutine 1
//	/path/file.cpp:30 +0x2f
// Empty if it is not known. In two steps for those who print many: what depends on gopc only, and the text.
struct creator {
  std::string function, place;
};
creator find_creator(const g& gp, const symbolizer& names);
std::string creator_text(const g& gp, const creator& by);
// How many of the innermost frames belong to the report, to std::terminate, and to what threw; 0: unknown.
struct unwinding {
  bool forced = false;       // by _Unwind_ForcedUnwind: pthread_exit, thread cancellation
  bool at_noexcept = false;  // an unwinder in progress was stopped
  bool landed = false;       // and it had come to the noexcept function, which is the next frame
};
std::size_t machinery(const stack_frames& frames, const symbolizer& names, unwinding* seen);
// Where an unwinder in progress was stopped, when machinery() has seen that it was: the index of the frame that is
// noexcept; size() if it is not among those that were kept. The frames within it may be unwound already.
std::size_t noexcept_frame(const stack_frames& frames, std::size_t machinery, const unwinding& seen);
// f (/path/file.cpp:30), the function itself; without its file if there is no debug information.
std::string place_in_one_line(frame f, const symbolizer& names);
// The innermost call that is neither the library's nor the standard library's. Empty if there is none.
creator find_user(const stack_frames& frames, const symbolizer& names);
void print_creator_sig(const g& gp);

// When names are not complete: what is missing.
void print_missing_library(const symbolizer& names);
// When there was no copy of the process to find them.
void print_no_names_sig();

// Writes all of it to stderr, at once where the system lets us.
void write_stderr(const std::string& text);

}  // namespace weft::rt
