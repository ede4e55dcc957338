// stalled: a goroutine makes no call of the runtime. What the reader wants to know is where it is, and it must not notice
// that somebody looks: no signal, no stop, no system call that ends early.
//
// Asleep   in the kernel: /proc says in which call, and the stack pointer and address that it went in with. The other
//          registers are not to be had. A frame that the compiler lays out by the stack pointer needs none of them; for one
//          that is found by rbp, rbp is searched on the stack (frame_pointer).
// Running  the kernel takes one sample of it (perf_event_open): its registers, and the inner part of its stack as it was.
// Stack    its inner part is copied at that moment: by the kernel, with the sample; by us, of one that sleeps before and after
//          at the same place. What is further out is read later, and is likely to have stayed.
// Names    are found in a copy of the process, as in every report (child.hpp). A copy costs some ms, opening the program's debug
//          information much more: those that sleep are reported by one copy together; each that runs has its own,
//          since it may take long until it gets a CPU and can be sampled.
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "base/print.hpp"
#include "base/wires.hpp"
#include "mem/stack.hpp"
#include "model/m.hpp"
#include "observe/child.hpp"
#include "observe/reports.hpp"
#include "observe/symbolize.hpp"
#include "observe/traceback.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

constexpr std::int64_t patience_ns = 300'000'000;
constexpr int attempts = 10;

struct stalled {
  stall s;
  os::whereabouts where;
  long call;                // the system call it sleeps in; -1: none
  os::running_place place;  // with the stack, of one that runs or sleeps
  bool known;               // `place` is
  bool moved;               // it has made a call since
  int proc_err;
  int sample_err;
};
constinit stalled them[most_stalls]{};

struct report {
  const stalled* first;
  std::size_t n;
  report_progress* progress;
};

// The calls that goroutines are found in.
const char* name_of_call(long call) {
  switch (call) {
#define CALL(name) \
  case SYS_##name: return #name;
    CALL(read)
    CALL(write)
    CALL(readv)
    CALL(writev)
    CALL(pread64)
    CALL(pwrite64)
    CALL(preadv)
    CALL(pwritev)
    CALL(pselect6)
    CALL(ppoll)
    CALL(epoll_pwait)
    CALL(nanosleep)
    CALL(clock_nanosleep)
    CALL(futex)
    CALL(flock)
    CALL(fcntl)
    CALL(ioctl)
    CALL(fsync)
    CALL(fdatasync)
    CALL(openat)
    CALL(close)
    CALL(connect)
    CALL(accept)
    CALL(accept4)
    CALL(recvfrom)
    CALL(recvmsg)
    CALL(recvmmsg)
    CALL(sendto)
    CALL(sendmsg)
    CALL(sendmmsg)
    CALL(sendfile)
    CALL(splice)
    CALL(wait4)
    CALL(waitid)
    CALL(rt_sigtimedwait)
    CALL(rt_sigsuspend)
    CALL(semtimedop)
    CALL(msgrcv)
    CALL(msgsnd)
    CALL(io_uring_enter)
#if defined(__x86_64__)
    CALL(poll)
    CALL(select)
    CALL(epoll_wait)
    CALL(pause)
    CALL(open)
#endif
#undef CALL
    default: return nullptr;
  }
}

bool has_moved(const stall& s) { return s.mp->calls.load(relaxed) != s.calls || s.mp->in_runtime.load(relaxed) != 0; }

void copy_stack(os::running_place& of) {
  iovec to{of.stack, sizeof of.stack};
  iovec from{reinterpret_cast<void*>(of.sp), sizeof of.stack};
  const ssize_t n = ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0);
  of.stack_bytes = n < 0 ? 0 : static_cast<std::size_t>(n);
}

// True: it sleeps, and `place` is where.
bool find_asleep(stalled& it) {
  os::sleeping_place at, again;
  it.known = false;
  it.where = os::find_thread(it.s.thread, &again, &it.proc_err);
  for (int i = 0; i < attempts && it.where == os::whereabouts::sleeps; ++i) {
    at = again;
    it.place = {};
    it.place.pc = at.pc;
    it.place.sp = at.sp;
    copy_stack(it.place);
    it.where = os::find_thread(it.s.thread, &again, &it.proc_err);
    if (it.where != os::whereabouts::sleeps || at.pc != again.pc || at.sp != again.sp) continue;
    it.call = at.call;
    it.known = true;
    return true;
  }
  return false;
}

// It may be between two places: asked again.
void find(stalled& it) {
  for (int i = 0; i < attempts; ++i) {
    it.sample_err = os::sample_thread(it.s.thread, patience_ns, &it.place);
    it.known = it.sample_err == 0;
    if (it.known) it.where = os::whereabouts::runs;
    if (it.sample_err != ETIME || find_asleep(it)) return;
  }
}

void add_title(line& to, const stalled& it, const g* named) {
  to.text("weft: ");
  if (named != nullptr) {
    add_who(to, *named);
  } else {
    to.text("goroutine ").number(it.s.goid);
  }
  to.text(" has made no call of the runtime for ").number(static_cast<std::uint64_t>(it.s.ns / 1'000'000)).text(" ms");
  switch (it.where) {
    case os::whereabouts::unknown: break;
    case os::whereabouts::runs: to.text(": it runs"); break;
    case os::whereabouts::sleeps:
      to.text(": it sleeps in the kernel");
      if (const char* name = name_of_call(it.call)) {
        to.text(" (").text(name).text(")");
      } else if (it.call >= 0) {
        to.text(" (system call ").number(static_cast<std::uint64_t>(it.call)).text(")");
      }
      break;
  }
  to.text(", on thread ").number(it.s.thread).text("\n");
}

void add_error(line& to, int err) {
  if (const char* text = ::strerrordesc_np(err)) {
    to.text(text);
  } else {
    to.text("errno ").number(static_cast<std::uint64_t>(err));
  }
}

// Why there is no stack; nothing if there is.
void add_excuse(line& to, const stalled& it) {
  if (it.moved) {
    to.text("\tit has made a call before its stack could be read\n");
    return;
  }
  if (it.known) return;
  to.text("\tits stack cannot be read here: ");
  if (it.proc_err != 0) {
    to.text("/proc/self/task/").number(it.s.thread).text("/syscall: ");
    add_error(to, it.proc_err);
    to.text("; ");
  }
  if (it.sample_err == ETIME) {
    to.text("it has run no code of the program for ").number(attempts * patience_ns / 1'000'000).text(" ms\n");
    return;
  }
  to.text("perf_event_open: ");
  add_error(to, it.sample_err);
  to.text("\n");
}

cpu_state innermost(const os::running_place& place) {
  cpu_state from;
  from.exact = true;
  from.pc = place.pc;
  from.sp = place.sp;
#if defined(__x86_64__)
  from.rbx = place.rbx;
  from.rbp = place.rbp;
  from.r12 = place.r12;
  from.r13 = place.r13;
  from.r14 = place.r14;
  from.r15 = place.r15;
#endif
  return from;
}

#if defined(__x86_64__)

// What is called where `to` is a return address.
struct caller {
  bool is_call = false;
  std::uintptr_t target = 0;  // 0: not known
};

// Where a stub of the linker's jumps to, which is how functions of other libraries are called; else `at` itself.
std::uintptr_t behind_stub(std::uintptr_t at) {
  unsigned char code[16];
  for (std::size_t i = 0; i < sizeof code; i += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    if (!read_word(at + i, &word)) return at;
    std::memcpy(code + i, &word, sizeof word);
  }
  std::size_t n = 0;
  constexpr unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa};
  if (std::memcmp(code, endbr64, sizeof endbr64) == 0) n += sizeof endbr64;
  if (code[n] == 0xf2) ++n;                               // bnd
  if (code[n] != 0xff || code[n + 1] != 0x25) return at;  // jmp [rip + offset]
  std::int32_t offset = 0;
  std::memcpy(&offset, code + n + 2, sizeof offset);
  std::uintptr_t target = 0;
  return read_word(at + n + 6 + static_cast<std::uintptr_t>(std::intptr_t{offset}), &target) ? target : at;
}

caller call_before(std::uintptr_t to) {
  std::uintptr_t word = 0;
  if (!read_word(to - sizeof word, &word)) return {};
  unsigned char code[sizeof word];
  std::memcpy(code, &word, sizeof word);
  if (code[3] == 0xe8) {  // call rel32
    std::int32_t offset = 0;
    std::memcpy(&offset, code + 4, sizeof offset);
    return {true, behind_stub(to + static_cast<std::uintptr_t>(std::intptr_t{offset}))};
  }
  // call r/m: opcode ff /2, with no displacement, one byte of it, or four; with a SIB byte or without.
  for (const std::size_t length : {2U, 3U, 4U, 6U, 7U}) {
    const unsigned char* at = code + sizeof word - length;
    if (at[0] == 0xff && (at[1] & 0x38) == 0x10) return {true, 0};
  }
  return {};
}

// By how much rsp is below rbp after the usual first instructions of a function that keeps one: push rbp; mov rbp, rsp; other
// registers pushed; sub rsp, n. What the function makes room for later is not in it. 0: it begins otherwise.
std::uintptr_t room_of_frame(std::uintptr_t start) {
  unsigned char code[32];
  for (std::size_t i = 0; i < sizeof code; i += sizeof(std::uintptr_t)) {
    std::uintptr_t word = 0;
    if (!read_word(start + i, &word)) return 0;
    std::memcpy(code + i, &word, sizeof word);
  }
  const unsigned char* at = code;
  constexpr unsigned char endbr64[] = {0xf3, 0x0f, 0x1e, 0xfa}, begin[] = {0x55, 0x48, 0x89, 0xe5};
  if (std::memcmp(at, endbr64, sizeof endbr64) == 0) at += sizeof endbr64;
  if (std::memcmp(at, begin, sizeof begin) != 0) return 0;
  at += sizeof begin;
  std::uintptr_t room = 0;
  for (int i = 0; i < 5; ++i) {
    if (at[0] == 0x41 && (at[1] & 0xf8) == 0x50) {
      at += 2;
    } else if ((at[0] & 0xf8) == 0x50) {
      at += 1;
    } else {
      break;
    }
    room += sizeof(std::uintptr_t);
  }
  if (at[0] != 0x48 || (at[1] != 0x83 && at[1] != 0x81) || at[2] != 0xec) return room;
  if (at[1] == 0x83) return room + (at[3] & 0x7f);
  std::uint32_t n = 0;
  std::memcpy(&n, at + 3, sizeof n);
  return room + n;
}

// The function that `frames` ends in keeps its frame by rbp, which nobody has told us. It points to a pair of words on the
// stack: the caller's rbp, and the return address into the caller. There are other such pairs, left there by functions that have
// returned. The right one
// - is where the function's first instructions put it, unless it has made more room since (alloca); else further out,
// - was called by name; or one of its library was, which may have jumped to it (a part that the compiler has split off); or it was
//   by an address that is not told, and not from inside the function itself, for that is what the functions that it has
//   called leave behind,
// - leads to the goroutine's first frame.
class frame_pointer {
 public:
  frame_pointer(const cpu_state& from, std::uintptr_t hi, const symbolizer& names, const memory_copy& copy)
      : from_(from), hi_(hi), names_(names), copy_(copy) {}

  bool find(const stack_frames& frames, stack_frames* found) {
    const frame last = frames.at(frames.size() - 1);
    const symbol& function = names_.look_up(last.look_up());
    if (!function.has_offset) return false;
    start_ = last.look_up() - function.offset;
    const std::uintptr_t lowest = stack_pointer(last) + room_of_frame(start_);
    if (is_it(lowest, caller_is::any, found)) return true;
    module_ = function.module;
    for (const caller_is wanted : {caller_is::known, caller_is::of_library, caller_is::another}) {
      for (std::uintptr_t at = lowest; at + 2 * word <= hi_; at += word) {
        if (is_it(at, wanted, found)) return true;
      }
    }
    return false;
  }

 private:
  static constexpr std::uintptr_t word = sizeof(std::uintptr_t);
  enum class caller_is : std::uint8_t { any, known, of_library, another };

  // In the function: above the return address into it, of which the innermost one counts.
  std::uintptr_t stack_pointer(const frame& last) const {
    const std::uintptr_t sp = (from_.sp + word - 1) & ~(word - 1);
    if (last.interrupted) return sp;
    for (std::uintptr_t at = sp; at + word <= hi_; at += word) {
      std::uintptr_t value = 0;
      if (read_word(at, &value, copy_) && value == last.pc) return at + word;
    }
    return sp;
  }

  bool is_it(std::uintptr_t at, caller_is wanted, stack_frames* found) const {
    std::uintptr_t outer = 0, to = 0;
    if (at + 2 * word > hi_ || !read_word(at, &outer, copy_) || !read_word(at + word, &to, copy_)) return false;
    if (outer != 0 && (outer <= at || outer >= hi_)) return false;
    const symbol& into = names_.look_up(to - 1);
    if (into.module.empty()) return false;
    const caller by = call_before(to);
    if (!by.is_call) return false;
    if (wanted == caller_is::known && by.target != start_) return false;
    if (wanted == caller_is::of_library &&
        (into.module == module_ || by.target == 0 || names_.look_up(by.target).module != module_)) {
      return false;
    }
    if (wanted == caller_is::another && into.has_offset && to - 1 - into.offset == start_) return false;
    cpu_state with = from_;
    with.rbp = at;
    return found->take_at(with, names_, copy_) && found->at_base(names_);
  }

  cpu_state from_;
  std::uintptr_t hi_;
  const symbolizer& names_;
  memory_copy copy_;
  std::uintptr_t start_ = 0;
  std::string module_;
};

#else

class frame_pointer {
 public:
  frame_pointer(const cpu_state&, std::uintptr_t, const symbolizer&, const memory_copy&) {}
  bool find(const stack_frames&, stack_frames*) { return false; }
};

#endif

std::string stack_text(const stalled& it, const symbolizer& names) {
  static stack_frames frames, better;
  const cpu_state from = innermost(it.place);
  const memory_copy copy{it.place.sp, it.place.stack_bytes, it.place.stack};
  if (!frames.take_at(from, names, copy) || frames.size() == 0) frames.take_one({from.pc, true, false});
  if (frames.at_base(names)) return frames_text(frames, names);
  const stack* st = it.s.gp->stack;
  if (it.where == os::whereabouts::sleeps && st != nullptr && from.sp > st->lo && from.sp < st->sp0 &&
      frame_pointer(from, st->sp0, names, copy).find(frames, &better)) {
    return frames_text(better, names);
  }
  frames.set_cut();
  return frames_text(frames, names);
}

std::string text_of(const stalled& it, const symbolizer& names) {
  const g& gp = *it.s.gp;
  const bool same = gp.goid == it.s.goid;  // else it has ended, and its g is another's
  line title, excuse;
  add_title(title, it, same ? &gp : nullptr);
  add_excuse(excuse, it);
  std::string text = title.c_str();
  text += excuse.c_str();
  if (it.known && !it.moved) text += stack_text(it, names);
  if (same) text += creator_text(gp, find_creator(gp, names));
  return text;
}

// In the copy of the process.
bool print_with_names(void* arg) {
  const report& r = *static_cast<report*>(arg);
  const symbolizer names;
  for (std::size_t i = 0; i < r.n; ++i) {
    write_stderr(text_of(r.first[i], names));
    r.progress->goroutines = i + 1;
  }
  print_missing_library(names);
  return true;
}

// What the copy did not get done.
void print_rest(const stalled& it) {
  line text;
  add_title(text, it, nullptr);
  add_excuse(text, it);
  text.flush_sig();
  if (it.known && !it.moved) {
    static stack_frames frames;
    frames.take_one({it.place.pc, true, false});
    print_frames_sig(frames, 0);
  }
  if (!has_moved(it.s)) print_creator_sig(*it.s.gp);
}

void print(stalled* first, std::size_t n) {
  if (n == 0) return;
  for (std::size_t i = 0; i < n; ++i) first[i].moved = has_moved(first[i].s);
  report r{first, n, new_progress_sig()};
  if (!run_in_child_sig(print_with_names, &r)) {
    for (std::size_t i = r.progress->goroutines; i < n; ++i) print_rest(first[i]);
    print_no_names_sig();
  }
  free_progress(r.progress);
}

}  // namespace

void report_stalled(const stall* stalls, std::size_t n) {
  if (!begin_report_sig()) return;
  // Those that sleep from the front, the others from the back.
  std::size_t asleep = 0, others = most_stalls;
  for (std::size_t i = 0; i < n; ++i) {
    stalled& it = them[asleep];
    it.s = stalls[i];
    if (find_asleep(it)) {
      ++asleep;
    } else {
      them[--others].s = it.s;
    }
  }
  print(them, asleep);
  for (std::size_t i = others; i < most_stalls; ++i) {
    if (!find_asleep(them[i])) find(them[i]);
    print(&them[i], 1);
  }
  end_report();
}

}  // namespace weft::rt
