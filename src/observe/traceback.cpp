#include "observe/traceback.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <link.h>
#include <unistd.h>
#include <unwind.h>

#include <cstring>
#include <string_view>

#include "base/print.hpp"
#include "mem/stack.hpp"
#include "observe/symbolize.hpp"
#include "sched/extras.hpp"

// Of the C++ ABI, which has no header for it.
extern "C" _Unwind_Reason_Code __gxx_personality_v0(int version, _Unwind_Action actions, _Unwind_Exception_Class thrown,
                                                    _Unwind_Exception* e, _Unwind_Context* context);

namespace weft::rt {
namespace {

// A walk takes about a microsecond per frame: the largest stacks there are still print in seconds.
constexpr std::size_t walk_max = 2'000'000;

bool starts_with(std::string_view s, std::string_view with) { return s.substr(0, with.size()) == with; }

// The frames below every goroutine's function.
bool is_base(std::string_view function) { return starts_with(function, "weft_goroutine_"); }

// Whether the function itself, not an argument of it, is in a namespace. Templates show their return type first.
bool is_in(std::string_view function, std::string_view space) {
  int depth = 0;
  for (std::size_t i = 0; i < function.size(); ++i) {
    const char c = function[i];
    if (c == '<' || c == '(' || c == '{') ++depth;
    if (c == '>' || c == ')' || c == '}') --depth;
    if (depth != 0 || (i != 0 && function[i - 1] != ' ')) continue;
    if (starts_with(function.substr(i), space)) return true;
  }
  return false;
}

bool is_ours(std::string_view function) { return is_in(function, "weft::"); }
bool is_internal(std::string_view function) {
  return is_in(function, "weft::rt::") || is_in(function, "weft::detail::");
}

// f(int, char) const -> f
std::string_view without_arguments(std::string_view function) {
  std::string_view s = function;
  constexpr std::string_view is_const = " const";
  if (s.size() > is_const.size() && s.substr(s.size() - is_const.size()) == is_const) {
    s.remove_suffix(is_const.size());
  }
  if (s.empty() || s.back() != ')') return function;
  int depth = 0;
  for (std::size_t i = s.size(); i-- > 0;) {
    if (s[i] == ')') ++depth;
    if (s[i] == '(' && --depth == 0) return i == 0 ? function : s.substr(0, i);
  }
  return function;
}

void add_place(std::string& to, const symbol& sym, const call_site& call) {
  line offset;
  if (call.file.empty()) {
    offset.hex(sym.module_offset);
    to += '\t';
    to += sym.module.empty() ? "address " : sym.module + '+';
    to += offset.c_str();
  } else {
    offset.text(":").number(static_cast<std::uint64_t>(call.line < 0 ? 0 : call.line));
    if (!call.inlined && sym.has_offset) offset.text(" +").hex(sym.offset);
    to += '\t' + call.file + offset.c_str();
  }
  to += '\n';
}

void add_call(std::string& to, const symbol& sym, const call_site& call) {
  std::string function = call.function.empty() ? "?" : call.function;
  if (!call.function.empty() && function.find('(') == std::string::npos) function += "(...)";
  to += function + '\n';
  add_place(to, sym, call);
}

// Module and offset of an address, with what glibc has for signal handlers.
void add_address_sig(line& to, std::uintptr_t pc) {
  to.hex(pc);
#if defined(DLFO_STRUCT_HAS_EH_DBASE)  // glibc 2.35, where _dl_find_object came with it
  dl_find_object found{};
  if (::_dl_find_object(reinterpret_cast<void*>(pc), &found) != 0) return;
  const char* file = found.dlfo_link_map->l_name;
  to.text(" ").text(file[0] != '\0' ? file : "program");
  to.text("+").hex(pc - reinterpret_cast<std::uintptr_t>(found.dlfo_map_start));
#endif
}

}  // namespace

// ---- taking

// Asks what the unwinder would ask: whether the search for a handler ends in this frame. The exception is one that no
// language has thrown, so that only those answer yes who take all.
static bool stops_any(_Unwind_Context* context) {
  if (_Unwind_GetLanguageSpecificData(context) == nullptr) return false;
  _Unwind_Exception none{};
  constexpr _Unwind_Exception_Class of_nobody = 0x776566746e6f6e65;
  return __gxx_personality_v0(1, _UA_SEARCH_PHASE, of_nobody, &none, context) == _URC_HANDLER_FOUND;
}

struct walk {
  stack_frames* out;
  bool skip_to_signal;
  bool with_stops = false;
  std::size_t steps = 0;

  static _Unwind_Reason_Code step(_Unwind_Context* context, void* p) {
    walk& self = *static_cast<walk*>(p);
    int exact = 0;
    const std::uintptr_t pc = _Unwind_GetIPInfo(context, &exact);
    if (pc == 0) return _URC_END_OF_STACK;
    if (++self.steps > walk_max) {
      self.out->cut_ = true;
      return _URC_END_OF_STACK;
    }
    if (self.skip_to_signal && exact == 0) return _URC_NO_REASON;
    self.skip_to_signal = false;
    self.out->add({pc, exact != 0, self.with_stops && stops_any(context)});
    cpu_state& last = self.out->last_;
    last.pc = pc;
    last.sp = _Unwind_GetCFA(context);
#if defined(__x86_64__)
    last.rbx = _Unwind_GetGR(context, 3);
    last.rbp = _Unwind_GetGR(context, 6);
    last.r12 = _Unwind_GetGR(context, 12);
    last.r13 = _Unwind_GetGR(context, 13);
    last.r14 = _Unwind_GetGR(context, 14);
    last.r15 = _Unwind_GetGR(context, 15);
#endif
    return _URC_NO_REASON;
  }
};

void stack_frames::add(frame f) {
  if (inner_n_ < inner_max) {
    inner_[inner_n_++] = f;
  } else {
    outer_[beyond_++ % outer_max] = f;
  }
}

void stack_frames::take_sig(bool interrupted) {
  inner_n_ = beyond_ = 0;
  cut_ = false;
  walk w{this, interrupted};
  _Unwind_Backtrace(&walk::step, &w);
}

void stack_frames::take_with_stops() {
  inner_n_ = beyond_ = 0;
  cut_ = false;
  walk w{this, false, true};
  _Unwind_Backtrace(&walk::step, &w);
}

bool stack_frames::add_parked(std::uintptr_t pc, void* self) {
  auto& frames = *static_cast<stack_frames*>(self);
  if (pc == 0 || frames.inner_n_ + frames.beyond_ > walk_max) return false;
  frames.add({pc, frames.exact_ && frames.size() == 0, false});
  return true;
}

bool stack_frames::take_parked(const g& gp, const symbolizer& names) {
  inner_n_ = beyond_ = 0;
  cut_ = false;
  if (gp.stack == nullptr || gp.sched.sp <= gp.stack->lo || gp.sched.sp >= gp.stack->sp0) return false;
#if defined(__x86_64__)
  // As arch/x86_64/switch.S leaves it.
  const auto* saved = reinterpret_cast<const std::uintptr_t*>(gp.sched.sp);
  cpu_state from;
  from.r15 = saved[0];
  from.r14 = saved[1];
  from.r13 = saved[2];
  from.r12 = saved[3];
  from.rbx = saved[4];
  from.rbp = saved[5];
  from.pc = saved[6];
  from.sp = gp.sched.sp + 7 * sizeof *saved;
  return names.walk(from, add_parked, this);
#else
  static_cast<void>(names);
  return false;
#endif
}

bool stack_frames::take_at(const cpu_state& from, const symbolizer& names, const memory_copy& copy) {
  inner_n_ = beyond_ = 0;
  cut_ = false;
  exact_ = from.exact;
  const bool possible = names.walk(from, add_parked, this, copy);
  exact_ = false;
  return possible;
}

void stack_frames::take_one(frame f) {
  inner_n_ = beyond_ = 0;
  cut_ = false;
  add(f);
}

bool stack_frames::at_base(const symbolizer& names) const {
  return size() != 0 && is_base(names.look_up(at(size() - 1).look_up()).calls.back().function);
}

void stack_frames::go_on(const symbolizer& names) {
#if defined(__x86_64__)
  if (size() == 0 || names.look_up(last_.pc - 1).calls.back().function != "__clang_call_terminate") return;
  // push rax; call __cxa_begin_catch; call std::terminate
  const auto* sp = reinterpret_cast<const std::uintptr_t*>(last_.sp);
  cpu_state from = last_;
  from.pc = sp[1];
  from.sp = last_.sp + 2 * sizeof *sp;
  names.walk(from, add_parked, this);
#else
  static_cast<void>(names);
#endif
}

frame stack_frames::at(std::size_t i) const {
  if (i < inner_n_) return inner_[i];
  i -= inner_n_;
  return outer_[beyond_ <= outer_max ? i : (beyond_ + i) % outer_max];
}

std::size_t stack_frames::elided_before(std::size_t i) const {
  return i == inner_n_ && beyond_ > outer_max ? beyond_ - outer_max : 0;
}

// ---- printing

void write_stderr(const std::string& text) {
  for (std::size_t done = 0; done < text.size();) {
    const ssize_t n = ::write(2, text.data() + done, text.size() - done);
    if (n <= 0) return;
    done += static_cast<std::size_t>(n);
  }
}

const char* state_text(const g& gp) {
  switch (gp.status.get()) {
    case status::idle: return "idle";
    case status::runnable: return "runnable";
    case status::running: return "running";
    case status::detached: return "detached";
    case status::waiting: return gp.reason == wait_reason::none ? "waiting" : to_text(gp.reason);
    case status::dead: return "dead";
  }
  return "unknown status";
}

static void add_number(line& to, const g& gp) {
  if ((gp.flags & g_is_g0) != 0) {
    to.text("thread of the scheduler");
  } else if (gp.is_thread()) {
    to.text("thread");
  } else {
    to.text("goroutine ").number(gp.goid);
  }
}

void add_name(line& to, const g& gp) {
  if (const char* name = name_of(&gp)) to.text(" \"").text(name, ::strnlen(name, 63)).text("\"");
}

void add_who(line& to, const g& gp) {
  add_number(to, gp);
  add_name(to, gp);
}

void add_title(line& to, const g& gp, const char* state, std::int64_t waited_ns) {
  add_number(to, gp);
  to.text(" [").text(state);
  constexpr std::int64_t minute = 60'000'000'000;
  if (waited_ns >= minute) to.text(", ").number(static_cast<std::uint64_t>(waited_ns / minute)).text(" minutes");
  if ((gp.flags & g_locked) != 0) to.text(", locked to thread");
  to.text("]");
  add_name(to, gp);
}

// Calls out(text, i) for each frame, i the number of those that are done then.
template <class F>
static void spell_frames(const stack_frames& frames, std::size_t from, const symbolizer& names, bool waiting, F out) {
  // The outermost frames, the runtime's, are the same for every goroutine. If there are no others (the compiler
  // has put the user's function into ours, and nothing says so), ours must do.
  std::size_t end = frames.size(), last_calls = 0, end_of_base = 0;
  for (; end > from; --end) {
    const symbol& sym = names.look_up(frames.at(end - 1).look_up());
    last_calls = sym.calls.size();
    if (end_of_base == 0 && !is_base(sym.calls.back().function)) end_of_base = end;
    while (last_calls > 0 &&
           (is_ours(sym.calls[last_calls - 1].function) || is_base(sym.calls[last_calls - 1].function)))
      --last_calls;
    if (last_calls > 0) break;
  }
  const bool nothing_left = end == from;
  if (nothing_left) end = end_of_base != 0 ? end_of_base : frames.size();

  bool skip = waiting && !nothing_left;  // until the first public function
  for (std::size_t i = from; i < end; ++i) {
    std::string text;
    if (const std::size_t n = frames.elided_before(i)) text = "..." + std::to_string(n) + " frames elided...\n";
    const symbol& sym = names.look_up(frames.at(i).look_up());
    const std::size_t n = i + 1 == end && !nothing_left ? last_calls : sym.calls.size();
    for (std::size_t k = 0; k < n && k < sym.calls.size(); ++k) {
      // The library's inline way to std::terminate, which tells nobody anything.
      if (sym.calls[k].inlined && starts_with(sym.calls[k].function, "std::__terminate(")) continue;
      if (skip && is_internal(sym.calls[k].function)) continue;
      skip = false;
      add_call(text, sym, sym.calls[k]);
    }
    out(text, i + 1);
  }
  if (frames.cut()) out("...the stack goes on...\n", frames.size());
}

void print_frames(const stack_frames& frames, std::size_t from, const symbolizer& names, std::size_t* done,
                  bool waiting) {
  spell_frames(frames, from, names, waiting, [done](const std::string& text, std::size_t n) {
    write_stderr(text);
    if (done != nullptr) *done = n;
  });
}

std::string frames_text(const stack_frames& frames, const symbolizer& names) {
  std::string all;
  spell_frames(frames, 0, names, false, [&all](const std::string& text, std::size_t) { all += text; });
  return all;
}

void print_frames_sig(const stack_frames& frames, std::size_t from) {
  for (std::size_t i = from; i < frames.size(); ++i) {
    line text;
    if (const std::size_t n = frames.elided_before(i)) text.text("...").number(n).text(" frames elided...\n");
    text.text("\t");
    add_address_sig(text, frames.at(i).look_up());
    text.text("\n").flush_sig();
  }
}

// The main goroutine has none, as in Go.
static bool has_creator(const g& gp) { return gp.gopc != nullptr && gp.parent_goid != 0; }

creator find_creator(const g& gp, const symbolizer& names) {
  if (!has_creator(gp)) return {};
  const symbol& sym = names.look_up(reinterpret_cast<std::uintptr_t>(gp.gopc) - 1);
  // go() is inline: the user's call is around it.
  std::size_t k = 0;
  while (k + 1 < sym.calls.size() && is_ours(sym.calls[k].function)) ++k;
  const call_site& call = sym.calls[k];
  creator by;
  by.function = call.function.empty() ? "?" : std::string(without_arguments(call.function));
  add_place(by.place, sym, call);
  return by;
}

creator find_user(const stack_frames& frames, const symbolizer& names) {
  for (std::size_t i = 0; i < frames.size(); ++i) {
    const symbol& sym = names.look_up(frames.at(i).look_up());
    for (const call_site& call : sym.calls) {
      const std::string& f = call.function;
      // Our own tests are users too.
      const bool machinery = (is_ours(f) && !is_in(f, "weft::test::")) || is_base(f) || is_in(f, "std::") ||
                             is_in(f, "__gnu_cxx::") || starts_with(f, "_");
      if (f.empty() || machinery) continue;
      creator found;
      found.function = std::string(without_arguments(f));
      add_place(found.place, sym, call);
      return found;
    }
  }
  return {};
}

std::string creator_text(const g& gp, const creator& by) {
  if (by.function.empty()) return {};
  std::string text = "created by " + by.function;
  if (gp.parent_goid != 0) text += " in goroutine " + std::to_string(gp.parent_goid);
  return text + '\n' + by.place;
}

void print_creator_sig(const g& gp) {
  if (!has_creator(gp)) return;
  line text;
  text.text("created by ");
  add_address_sig(text, reinterpret_cast<std::uintptr_t>(gp.gopc) - 1);
  if (gp.parent_goid != 0) text.text(" in goroutine ").number(gp.parent_goid);
  text.text("\n").flush_sig();
}

void print_missing_library(const symbolizer& names) {
  if (names.complete()) return;
  write_stderr("weft: functions and lines are missing above: install libdw1 (elfutils), which reads them\n");
}

void print_no_names_sig() {
  line{}.text("weft: no names: the process that reads them could not be started, or did not finish\n").flush_sig();
}

std::size_t machinery(const stack_frames& frames, const symbolizer& names, unwinding* seen) {
  // The innermost frames are the report's and the terminate handler's, then comes what called it.
  constexpr std::size_t look = 24;
  constexpr std::size_t gap = 3;  // functions of libgcc that have no name
  constexpr std::string_view throwers[] = {"__cxa_throw", "__cxa_rethrow", "std::rethrow_exception("};
  constexpr std::string_view others[] = {"std::terminate(",        "__cxxabiv1::__terminate(", "__cxa_call_terminate",
                                         "__clang_call_terminate", "__gxx_personality_v0",     "_Unwind_",
                                         "__cxa_pure_virtual",     "__cxa_deleted_virtual",    "__cxa_init_primary"};
  auto is_any = [](std::string_view name, const auto& list) {
    if (starts_with(name, "__interceptor_")) name.remove_prefix(std::strlen("__interceptor_"));
    for (const std::string_view one : list) {
      if (starts_with(name, one)) return true;
    }
    return false;
  };
  std::size_t end = 0;
  bool thrown = false;
  for (std::size_t i = 0; i < frames.size() && i < look && (end == 0 || i <= end + gap); ++i) {
    const symbol& sym = names.look_up(frames.at(i).look_up());
    const std::string& name = sym.calls.back().function;
    const bool thrower = is_any(name, throwers);
    if (!thrower && !is_any(name, others)) {
      if (thrown) break;
      continue;
    }
    end = i + 1;
    if (thrower) thrown = true;
    if (seen != nullptr) {
      if (starts_with(name, "_Unwind_ForcedUnwind")) seen->forced = true;
      if (starts_with(name, "__gxx_personality_v0")) seen->at_noexcept = true;
      // The function's own code calls it: there the unwinder has done its work.
      seen->landed = starts_with(name, "__clang_call_terminate") || starts_with(name, "__cxa_call_terminate");
      if (seen->landed) seen->at_noexcept = true;
    }
  }
  return end;
}

std::size_t noexcept_frame(const stack_frames& frames, std::size_t machinery, const unwinding& seen) {
  if (seen.landed) return machinery;
  for (std::size_t i = machinery; i < frames.size() && frames.elided_before(i) == 0; ++i) {
    if (frames.at(i).stops) return i;
  }
  return frames.size();
}

std::string place_in_one_line(frame f, const symbolizer& names) {
  const symbol& sym = names.look_up(f.look_up());
  const call_site& call = sym.calls.back();
  std::string text = call.function.empty() ? "?" : std::string(without_arguments(call.function));
  if (!call.file.empty()) text += " (" + call.file + ':' + std::to_string(call.line) + ')';
  return text;
}

}  // namespace weft::rt
