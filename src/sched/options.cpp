// The environment's say in the options. One table: what a variable is called, what it takes, where it goes.
#include "weft/options.hpp"

#include <unistd.h>

#include <cstdlib>
#include <cstring>
#include <string>

#include "base/print.hpp"
#include "base/sizes.hpp"
#include "base/span_of_time.hpp"
#include "mem/stack.hpp"
#include "weft/error.hpp"

namespace weft {
inline namespace v0 {
namespace {

bool to_number(const char* s, std::uint64_t* out) {
  if (*s < '0' || *s > '9') return false;
  std::uint64_t v = 0;
  for (; *s >= '0' && *s <= '9'; ++s) {
    const auto digit = static_cast<std::uint64_t>(*s - '0');
    if (v > (~std::uint64_t{0} - digit) / 10) return false;
    v = v * 10 + digit;
  }
  const int shift = *s == 'K' ? 10 : *s == 'M' ? 20 : 0;
  if (shift != 0) {
    ++s;
    if (v >> (64 - shift) != 0) return false;
    v <<= shift;
  }
  *out = v;
  return *s == '\0';
}

bool set_procs(options& o, const char* s) {
  std::uint64_t v;
  if (!to_number(s, &v) || v < 1 || v > rt::sizes::max_procs) return false;
  o.procs = static_cast<int>(v);
  return true;
}

bool set_stack_size(options& o, const char* s) {
  std::uint64_t v;
  if (!to_number(s, &v) || v < 1024 || rt::stack_class_for(v) < 0) return false;
  o.stack_size = v;
  return true;
}

bool set_max_threads(options& o, const char* s) {
  std::uint64_t v;
  if (!to_number(s, &v) || v < 1 || v > 0x7fffffff) return false;
  o.max_threads = static_cast<int>(v);
  return true;
}

bool set_main_return(options& o, const char* s) {
  if (std::strcmp(s, "cancel") == 0) {
    o.on_main_return = main_return::cancel;
  } else if (std::strcmp(s, "exit") == 0) {
    o.on_main_return = main_return::exit;
  } else {
    return false;
  }
  return true;
}

bool set_shutdown_timeout(options& o, const char* s) {
  std::int64_t ns;
  if (!rt::parse_span_of_time(s, &ns)) return false;
  o.shutdown_timeout = duration::nanoseconds(ns);
  return true;
}

bool set_deadlock(options& o, const char* s) {
  const bool on = std::strcmp(s, "on") == 0;
  if (!on && std::strcmp(s, "off") != 0) return false;
  o.deadlock = on;
  return true;
}

struct row {
  const char* name;
  bool (*set)(options&, const char*);  // null: read elsewhere
  const char* takes;
};

constexpr row table[] = {
    {"WEFT_PROCS", set_procs, "1 to 4096"},
    {"WEFT_STACK_SIZE", set_stack_size, "bytes, 1K to 8M"},
    {"WEFT_MAX_THREADS", set_max_threads, "1 to 2147483647"},
    {"WEFT_ON_MAIN_RETURN", set_main_return, "cancel or exit"},
    {"WEFT_SHUTDOWN_TIMEOUT", set_shutdown_timeout, "seconds, or with a unit: 500ms, 10s, 5m"},
    {"WEFT_DEADLOCK", set_deadlock, "on or off"},
    {"WEFT_DEBUG", nullptr, "developers' knobs, name=value,…"},
    // These are read, and refused, by explorations only (src/sim/explore.cpp).
    {"WEFT_SIM_SEED", nullptr, "the run that an exploration is to repeat: a seed or a choice string"},
    {"WEFT_SIM_RUNS", nullptr, "1 to 2147483647"},
    {"WEFT_SIM_TIME", nullptr, "seconds, or with a unit: 500ms, 10s, 5m"},
    {"WEFT_SIM_TRACE", nullptr, "1: prints each step of an exploration"},
};

std::string known() {
  std::string text = "; known variables:";
  for (const row& r : table) text.append(" ").append(r.name).append(" (").append(r.takes).append(")");
  return text;
}

}  // namespace

options options::from_env() {
  options o;
  for (char** at = environ; at != nullptr && *at != nullptr; ++at) {
    if (std::strncmp(*at, "WEFT_", 5) != 0) continue;
    const char* eq = std::strchr(*at, '=');
    if (eq == nullptr) continue;
    const std::string name(*at, static_cast<std::size_t>(eq - *at));
    const row* found = nullptr;
    for (const row& r : table) {
      if (name == r.name) found = &r;
    }
    if (found == nullptr) throw error("weft: unknown variable " + name + "=" + (eq + 1) + known());
    if (found->set != nullptr && !found->set(o, eq + 1)) {
      throw error("weft: bad value " + name + "=" + (eq + 1) + ": takes " + found->takes);
    }
  }
  return o;
}

}  // namespace v0
}  // namespace weft
