// symbolize: an address in this process -> function, file and line, with the calls that were inlined there.
//
// Names come from libdw (elfutils), which is opened when a report is printed and not before: linked in, it
// would cost each start of each program about a millisecond. Without it there are only the dynamic symbols.
// Allocates, takes libc's locks and may need 100 KiB of stack: for report processes (child.hpp) and tests.
#pragma once
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace weft::rt {

struct call_site {
  std::string function;  // demangled; empty: unknown
  std::string file;      // empty: no debug information, then `module` says where it is
  int line = 0;
  bool inlined = false;  // into the next entry
};

struct symbol {
  std::vector<call_site> calls;  // innermost inlined call first, the function itself last; never empty
  std::string module;            // file that holds the code
  std::uintptr_t module_offset = 0;
  bool has_offset = false;
  std::uint64_t offset = 0;  // of the address in the function
};

// Where a stack can be walked from: what the ABI keeps over a call.
struct cpu_state {
  std::uintptr_t pc = 0;  // a return address; exact: the very instruction
  std::uintptr_t sp = 0;
#if defined(__x86_64__)
  std::uintptr_t rbx = 0, rbp = 0, r12 = 0, r13 = 0, r14 = 0, r15 = 0;
#endif
  bool exact = false;
};

// What a part of memory held at the moment that is of interest.
struct memory_copy {
  std::uintptr_t at = 0;
  std::size_t n = 0;
  const unsigned char* bytes = nullptr;
};

// Reads a word as a debugger would: a copy that has it goes before memory, and bad addresses are no fault. False: not readable.
bool read_word(std::uintptr_t at, std::uintptr_t* out, const memory_copy& copy = {});

class symbolizer {
 public:
  static constexpr const char* default_library = "libdw.so.1";

  explicit symbolizer(const char* library = default_library);
  ~symbolizer();
  symbolizer(const symbolizer&) = delete;
  symbolizer& operator=(const symbolizer&) = delete;

  // libdw is there. When it is not, the report says what is missing.
  bool complete() const;

  // For a return address pass pc - 1: the call may be the last instruction of its line, or of its function.
  const symbol& look_up(std::uintptr_t pc) const;

  // Calls step(return address, arg) for `from` and each frame around it, until one returns false. For stacks that
  // nobody runs on, or of which there is a copy; damaged ones end the walk. False: not possible (no libdw, no support for this
  // CPU).
  bool walk(const cpu_state& from, bool (*step)(std::uintptr_t pc, void* arg), void* arg,
            const memory_copy& copy = {}) const;

 private:
  struct libdw;
  std::unique_ptr<libdw> dw_;
  mutable std::map<std::uintptr_t, symbol> known_;  // a recursion, or a thousand goroutines, have few places
};

// A C++ symbol in the form that people write: demangled, std::string for what it stands for, no ABI tags,
// clone suffixes or inline namespace of ours. Other text comes back as it is.
std::string readable(const char* mangled);
// The same for std::type_info::name().
std::string readable_type(const char* mangled);

}  // namespace weft::rt
