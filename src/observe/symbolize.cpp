#include "observe/symbolize.hpp"

#include <cxxabi.h>
#include <dlfcn.h>
#include <dwarf.h>
#include <elfutils/libdw.h>
#include <elfutils/libdwfl.h>
#include <sys/uio.h>
#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <map>
#include <utility>

namespace weft::rt {
namespace {

void replace_all(std::string& in, const char* what, const char* with) {
  const std::size_t what_n = std::strlen(what), with_n = std::strlen(with);
  for (std::size_t at = 0; (at = in.find(what, at)) != std::string::npos; at += with_n) in.replace(at, what_n, with);
}

struct freed {
  void operator()(void* p) const { std::free(p); }
};

}  // namespace

std::string readable(const char* mangled) {
  // The names of C are no mangled names, but some read as types: "i" is int.
  if (mangled[0] != '_' || mangled[1] != 'Z') return mangled;
  return readable_type(mangled);
}

std::string readable_type(const char* mangled) {
  int status = 0;
  const std::unique_ptr<char, freed> demangled{abi::__cxa_demangle(mangled, nullptr, nullptr, &status)};
  if (demangled == nullptr) return mangled;
  std::string name = demangled.get();
  const std::size_t clone = name.find(" [clone ");
  if (clone != std::string::npos) name.resize(clone);
  replace_all(name, "std::__cxx11::", "std::");
  replace_all(name, "std::basic_string<char, std::char_traits<char>, std::allocator<char> >", "std::string");
  replace_all(name, "std::basic_string_view<char, std::char_traits<char> >", "std::string_view");
  replace_all(name, "weft::v0::", "weft::");
  return name;
}

// By the kernel, which says so when there is nothing to read.
bool read_word(std::uintptr_t at, std::uintptr_t* out, const memory_copy& copy) {
  if (copy.n >= sizeof *out && at >= copy.at && at - copy.at <= copy.n - sizeof *out) {
    std::memcpy(out, copy.bytes + (at - copy.at), sizeof *out);
    return true;
  }
  iovec to{out, sizeof *out};
  iovec from{reinterpret_cast<void*>(at), sizeof *out};
  return ::process_vm_readv(::getpid(), &to, 1, &from, 1, 0) == static_cast<ssize_t>(sizeof *out);
}

// The functions of libdw, by name. Its types come from its headers; nothing is linked.
struct symbolizer::libdw {
// clang-format off
#define EACH_FUNCTION(X)                                                                                      \
  X(dwfl_begin) X(dwfl_end) X(dwfl_linux_proc_report) X(dwfl_report_end) X(dwfl_linux_proc_find_elf)          \
  X(dwfl_build_id_find_debuginfo) X(dwfl_addrmodule) X(dwfl_module_info) X(dwfl_module_addrinfo)              \
  X(dwfl_module_addrdie) X(dwfl_module_nextcu) X(dwarf_haspc) X(dwarf_getsrc_die) X(dwarf_linesrc)            \
  X(dwarf_lineno) X(dwarf_child) X(dwarf_siblingof) X(dwarf_hasattr) X(dwarf_getscopes_die) X(dwarf_tag)      \
  X(dwarf_diename) X(dwarf_attr) X(dwarf_attr_integrate) X(dwarf_formstring) X(dwarf_formudata)               \
  X(dwarf_formref_die) X(dwarf_getsrcfiles) X(dwarf_filesrc) X(dwfl_attach_state) X(dwfl_getthread_frames)    \
  X(dwfl_thread_state_registers) X(dwfl_thread_state_register_pc) X(dwfl_frame_pc)
#define MEMBER(name) decltype(&::name) name = nullptr;  // NOLINT(bugprone-macro-parentheses): a declaration
  // clang-format on
  EACH_FUNCTION(MEMBER)
#undef MEMBER

  void* library = nullptr;
  Dwfl* dwfl = nullptr;
  Dwfl_Callbacks callbacks{};
  mutable std::map<const void*, std::vector<Dwarf_Die>> functions;  // of the units met so far

  ~libdw() {
    if (dwfl != nullptr) dwfl_end(dwfl);
    if (library != nullptr) dlclose(library);
  }

  bool open(const char* path) {
    library = ::dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (library == nullptr) return false;
#define LOAD(name)                                                           \
  this->name = reinterpret_cast<decltype(&::name)>(::dlsym(library, #name)); \
  if (this->name == nullptr) return false;
    EACH_FUNCTION(LOAD)
#undef LOAD
#undef EACH_FUNCTION
    callbacks.find_elf = dwfl_linux_proc_find_elf;
    // Not dwfl_standard_find_debuginfo: that one may ask a debuginfod server, and a report does not use the network.
    callbacks.find_debuginfo = dwfl_build_id_find_debuginfo;
    dwfl = dwfl_begin(&callbacks);
    if (dwfl == nullptr) return false;
    const bool known = dwfl_linux_proc_report(dwfl, ::getpid()) == 0;
    return dwfl_report_end(dwfl, nullptr, nullptr) == 0 && known;
  }

  // clang writes no .debug_aranges, which is all that dwfl_module_addrdie knows: then each unit is asked.
  Dwarf_Die* unit_of(Dwfl_Module* module, Dwarf_Addr pc, Dwarf_Addr* bias) const {
    if (Dwarf_Die* unit = dwfl_module_addrdie(module, pc, bias)) return unit;
    for (Dwarf_Die* unit = nullptr; (unit = dwfl_module_nextcu(module, unit, bias)) != nullptr;) {
      if (dwarf_haspc(unit, pc - *bias) > 0) return unit;
    }
    return nullptr;
  }

  std::string in_directory_of(Dwarf_Die* unit, const char* file) const {
    if (file == nullptr) return {};
    if (file[0] == '/') return file;
    Dwarf_Attribute attr;
    const char* directory = dwarf_formstring(dwarf_attr(unit, DW_AT_comp_dir, &attr));
    return directory != nullptr ? std::string(directory) + '/' + file : file;
  }

  std::uint64_t number(Dwarf_Die* die, unsigned at) const {
    Dwarf_Attribute attr;
    Dwarf_Word value = 0;
    if (dwarf_formudata(dwarf_attr_integrate(die, at, &attr), &value) != 0) return 0;
    return value;
  }

  // "a::b::f" for a function that has no linkage name: one in an unnamed namespace, a local class, C.
  std::string qualified(Dwarf_Die* die) const {
    const char* own = dwarf_diename(die);
    if (own == nullptr) return {};
    // The code of a function stands alone; where it belongs is said where it is declared.
    Dwarf_Die definition = *die;
    for (const unsigned at : {DW_AT_abstract_origin, DW_AT_specification}) {
      Dwarf_Attribute attr;
      Dwarf_Die to;
      if (dwarf_attr(&definition, at, &attr) != nullptr && dwarf_formref_die(&attr, &to) != nullptr) definition = to;
    }
    std::string name = own;
    Dwarf_Die* scopes = nullptr;
    const int n = dwarf_getscopes_die(&definition, &scopes);
    const std::unique_ptr<Dwarf_Die, freed> owner{n > 0 ? scopes : nullptr};
    for (int i = 1; i < n; ++i) {
      const char* outer = dwarf_diename(&scopes[i]);
      switch (dwarf_tag(&scopes[i])) {
        case DW_TAG_namespace:
          name.insert(0, std::string(outer != nullptr ? outer : "(anonymous namespace)").append("::"));
          break;
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
          if (outer == nullptr) outer = std::strncmp(own, "operator()", 10) == 0 ? "{lambda}" : "{unnamed type}";
          name.insert(0, std::string(outer).append("::"));
          break;
        case DW_TAG_subprogram: return qualified(&scopes[i]) + "::" + name;
        default: break;
      }
    }
    return name;
  }

  std::string name_of(Dwarf_Die* die) const {
    for (const unsigned at : {DW_AT_linkage_name, DW_AT_MIPS_linkage_name}) {
      Dwarf_Attribute attr;
      if (const char* mangled = dwarf_formstring(dwarf_attr_integrate(die, at, &attr))) return readable(mangled);
    }
    std::string name = qualified(die);
    if (name.empty()) return name;
    replace_all(name, "weft::v0::", "weft::");
    return name + "(...)";
  }

  // False: no debug information for this address.
  bool add_calls(Dwfl_Module* module, Dwarf_Addr pc, symbol& out) const {
    Dwarf_Addr bias = 0;
    Dwarf_Die* unit = unit_of(module, pc, &bias);
    if (unit == nullptr) return false;
    const Dwarf_Addr at = pc - bias;

    call_site here;
    if (Dwarf_Line* row = dwarf_getsrc_die(unit, at)) {
      here.file = in_directory_of(unit, dwarf_linesrc(row, nullptr, nullptr));
      dwarf_lineno(row, &here.line);
    }

    // From the function inwards: each inlined call that the address is in.
    std::vector<Dwarf_Die> scopes;
    for (const Dwarf_Die& function : functions_of(unit)) {
      Dwarf_Die die = function;
      if (dwarf_haspc(&die, at) <= 0) continue;
      scopes.push_back(die);
      add_inlined(die, at, scopes);
      break;
    }
    for (std::size_t i = scopes.size(); i-- > 0;) {
      here.function = name_of(&scopes[i]);
      here.inlined = i > 0;
      out.calls.push_back(here);
      if (i == 0) return true;
      // Where this call stands, in the function around it.
      Dwarf_Files* files = nullptr;
      std::size_t files_n = 0;
      here = {};
      if (dwarf_getsrcfiles(unit, &files, &files_n) == 0) {
        const std::uint64_t file = number(&scopes[i], DW_AT_call_file);
        if (file < files_n) here.file = in_directory_of(unit, dwarf_filesrc(files, file, nullptr, nullptr));
      }
      here.line = static_cast<int>(number(&scopes[i], DW_AT_call_line));
    }
    out.calls.push_back(here);
    return true;
  }

  // The functions of a unit that have code. Not by dwarf_getscopes: it looks into no class, and so misses
  // the members of local ones, every lambda among them.
  const std::vector<Dwarf_Die>& functions_of(Dwarf_Die* unit) const {
    const auto [found, fresh] = functions.try_emplace(unit->addr);
    if (fresh) add_functions(*unit, found->second);
    return found->second;
  }

  void add_functions(Dwarf_Die parent, std::vector<Dwarf_Die>& to) const {
    Dwarf_Die die;
    for (int r = dwarf_child(&parent, &die); r == 0; r = dwarf_siblingof(&die, &die)) {
      switch (dwarf_tag(&die)) {
        case DW_TAG_subprogram:
          if (dwarf_hasattr(&die, DW_AT_low_pc) != 0 || dwarf_hasattr(&die, DW_AT_ranges) != 0) to.push_back(die);
          [[fallthrough]];
        case DW_TAG_namespace:
        case DW_TAG_class_type:
        case DW_TAG_structure_type:
        case DW_TAG_union_type:
        case DW_TAG_lexical_block: add_functions(die, to); break;
        default: break;
      }
    }
  }

  void add_inlined(Dwarf_Die parent, Dwarf_Addr at, std::vector<Dwarf_Die>& to) const {
    Dwarf_Die die;
    for (int r = dwarf_child(&parent, &die); r == 0; r = dwarf_siblingof(&die, &die)) {
      const int tag = dwarf_tag(&die);
      if (tag != DW_TAG_inlined_subroutine && tag != DW_TAG_lexical_block && tag != DW_TAG_try_block &&
          tag != DW_TAG_catch_block) {
        continue;
      }
      if (dwarf_haspc(&die, at) <= 0) continue;
      if (tag == DW_TAG_inlined_subroutine) to.push_back(die);
      add_inlined(die, at, to);
      return;
    }
  }

  // ---- walking

  bool attached = false;
  Dwfl_Thread_Callbacks threads{};

  struct walking {
    const libdw* self;
    const cpu_state* from;
    bool (*step)(std::uintptr_t, void*);
    void* arg;
    const memory_copy* copy;
    bool first = true;
  };
  walking now{};

  static bool read_memory(Dwfl*, Dwarf_Addr at, Dwarf_Word* out, void* arg) {
    std::uintptr_t word = 0;
    if (!read_word(at, &word, *static_cast<walking*>(arg)->copy)) return false;
    *out = word;
    return true;
  }

  static bool set_registers(Dwfl_Thread* thread, void* arg) {
    const walking& w = *static_cast<walking*>(arg);
    const cpu_state& s = *w.from;
#if defined(__x86_64__)
    // DWARF's numbers: 3 rbx, 6 rbp, 7 rsp, 12 to 15 r12 to r15.
    const Dwarf_Word rbx = s.rbx, rbp_rsp[] = {s.rbp, s.sp}, r12[] = {s.r12, s.r13, s.r14, s.r15};
    if (!w.self->dwfl_thread_state_registers(thread, 3, 1, &rbx)) return false;
    if (!w.self->dwfl_thread_state_registers(thread, 6, 2, rbp_rsp)) return false;
    if (!w.self->dwfl_thread_state_registers(thread, 12, 4, r12)) return false;
#endif
    // Inside the call: what comes after it may be another function.
    w.self->dwfl_thread_state_register_pc(thread, s.exact ? s.pc : s.pc - 1);
    return true;
  }

  static int on_frame(Dwfl_Frame* state, void* arg) {
    walking& w = *static_cast<walking*>(arg);
    Dwarf_Addr pc = 0;
    if (!w.self->dwfl_frame_pc(state, &pc, nullptr)) return DWARF_CB_ABORT;
    if (w.first && !w.from->exact) ++pc;
    w.first = false;
    return w.step(pc, w.arg) ? DWARF_CB_OK : DWARF_CB_ABORT;
  }

  bool walk(const cpu_state& from, bool (*step)(std::uintptr_t, void*), void* arg, const memory_copy& copy) {
#if !defined(__x86_64__)
    return false;
#endif
    now = {this, &from, step, arg, &copy};
    if (!attached) {
      threads.next_thread = [](Dwfl*, void*, void**) -> pid_t { return 0; };
      threads.get_thread = [](Dwfl*, pid_t, void* w, void** out) {
        *out = w;
        return true;
      };
      threads.memory_read = read_memory;
      threads.set_initial_registers = set_registers;
      attached = dwfl_attach_state(dwfl, nullptr, ::getpid(), &threads, &now);
      if (!attached) return false;
    }
    // The end of a walk is reported as an error by some systems: there is nothing to learn from the result.
    dwfl_getthread_frames(dwfl, ::getpid(), on_frame, &now);
    return true;
  }

  // False: the address is in no module.
  bool look_up(Dwarf_Addr pc, symbol& out) const {
    Dwfl_Module* module = dwfl_addrmodule(dwfl, pc);
    if (module == nullptr) return false;
    Dwarf_Addr start = 0;
    const char* file = nullptr;
    const char* name = dwfl_module_info(module, nullptr, &start, nullptr, nullptr, nullptr, &file, nullptr);

    GElf_Off offset = 0;
    GElf_Sym sym;
    const char* mangled = dwfl_module_addrinfo(module, pc, &offset, &sym, nullptr, nullptr, nullptr);
    if (!add_calls(module, pc, out)) out.calls.emplace_back();
    if (file == nullptr) file = name;
    if (file != nullptr) out.module = file;
    out.module_offset = pc - start;
    if (mangled != nullptr) {
      // The symbol has the parameters, which the debug information of a function without linkage name has not.
      out.calls.back().function = readable(mangled);
      out.has_offset = true;
      out.offset = offset;
    }
    return true;
  }
};

symbolizer::symbolizer(const char* library) {
  auto dw = std::make_unique<libdw>();
  if (dw->open(library)) dw_ = std::move(dw);
}

symbolizer::~symbolizer() = default;

bool symbolizer::complete() const { return dw_ != nullptr; }

const symbol& symbolizer::look_up(std::uintptr_t pc) const {
  const auto [found, fresh] = known_.try_emplace(pc);
  symbol& out = found->second;
  if (!fresh || (dw_ != nullptr && dw_->look_up(pc, out))) return out;
  Dl_info info{};
  out.calls.emplace_back();
  if (::dladdr(reinterpret_cast<void*>(pc), &info) == 0) return out;
  if (info.dli_fname != nullptr) out.module = info.dli_fname;
  out.module_offset = pc - reinterpret_cast<std::uintptr_t>(info.dli_fbase);
  if (info.dli_sname != nullptr) {
    out.calls.back().function = readable(info.dli_sname);
    out.has_offset = true;
    out.offset = pc - reinterpret_cast<std::uintptr_t>(info.dli_saddr);
  }
  return out;
}

bool symbolizer::walk(const cpu_state& from, bool (*step)(std::uintptr_t pc, void* arg), void* arg,
                      const memory_copy& copy) const {
  return dw_ != nullptr && dw_->walk(from, step, arg, copy);
}

}  // namespace weft::rt
