#include "base/knobs.hpp"

#include <cstring>

#include "base/noise.hpp"
#include "base/print.hpp"
#include "base/sizes.hpp"

namespace weft::rt {
namespace {

struct row {
  const char* name;
  std::uint64_t knobs::*field;
  std::uint64_t max;
  const char* const* words;  // values by name instead of numbers, ended by null
  const char* what;
};

constexpr const char* guard_words[] = {"auto", "batch", "single", "protect", "canary", nullptr};

constexpr const char* format_words[] = {"1.25", "1.23", nullptr};
constexpr const char* on_off_words[] = {"on", "off", nullptr};

constexpr row table[] = {
    {"schedtrace", &knobs::schedtrace, 3'600'000, nullptr, "milliseconds between lines about the scheduler, on stderr"},
    {"scheddetail", &knobs::scheddetail, 1, nullptr, "1: with each such line, all Ps, Ms and goroutines"},
    {"schedformat", &knobs::schedformat, 0, format_words, "such lines as Go prints them: 1.25 or 1.23"},
    {"rest", &knobs::rest, 3'600'000, nullptr, "milliseconds until an idle thread ends; 0: never"},
    {"membarrier", &knobs::membarrier, 0, on_off_words, "on, or off: as on a kernel without it"},
    {"takeback", &knobs::takeback, 0, on_off_words, "on, or off: goroutines that block or spin keep their P"},
    {"weight", &knobs::weight, 0, on_off_words,
     "on, or off: beside a crowd of busy threads those with a P weigh no more"},
    {"stall", &knobs::stall, 3'600'000, nullptr,
     "milliseconds without a call of the runtime after which a goroutine is reported, once; 0: never"},
    {"revokedelay", &knobs::revokedelay, 10'000, nullptr,
     "milliseconds that whoever takes a P waits between its steps"},
    {"seed", &knobs::seed, ~std::uint64_t{0}, nullptr, "seeds the scheduler's free choices"},
    {"guard", &knobs::guard, 0, guard_words, "how stacks are guarded: auto, batch, single, protect, canary"},
    {"noise", &knobs::noise, max_noise, nullptr,
     "delays and odd choices of the scheduler, 0 to 8; checked builds only"},
    {"spin", &knobs::spin, 1'000'000, nullptr, "microseconds that an idle thread looks for work before it sleeps"},
};

bool same(const char* a, std::size_t n, const char* b) { return std::strlen(b) == n && std::memcmp(a, b, n) == 0; }

bool parse_number(const char* s, std::size_t n, std::uint64_t max, std::uint64_t* out) {
  if (n == 0) return false;
  std::uint64_t v = 0;
  for (std::size_t i = 0; i < n; ++i) {
    if (s[i] < '0' || s[i] > '9') return false;
    const auto digit = static_cast<std::uint64_t>(s[i] - '0');
    if (v > (~std::uint64_t{0} - digit) / 10) return false;
    v = v * 10 + digit;
  }
  if (v > max) return false;
  *out = v;
  return true;
}

bool parse_word(const char* s, std::size_t n, const char* const* words, std::uint64_t* out) {
  for (std::uint64_t i = 0; words[i] != nullptr; ++i) {
    if (same(s, n, words[i])) {
      *out = i;
      return true;
    }
  }
  return false;
}

}  // namespace

bool parse_knobs(const char* text, knobs* out, char* message, unsigned long message_bytes) {
  *out = knobs{};
  out->spin = sizes::spin_us;
  out->rest = sizes::rest_ms;
  auto fail = [&](line& why) {
    why.text("; known knobs:");
    for (const row& r : table) why.text(" ").text(r.name).text(" (").text(r.what).text(")");
    std::strncpy(message, why.c_str(), message_bytes - 1);
    message[message_bytes - 1] = '\0';
    return false;
  };
  for (const char* at = text; at != nullptr && *at != '\0';) {
    const char* end = std::strchr(at, ',');
    const std::size_t n = end != nullptr ? static_cast<std::size_t>(end - at) : std::strlen(at);
    const auto* eq = static_cast<const char*>(std::memchr(at, '=', n));
    const std::size_t name_n = eq != nullptr ? static_cast<std::size_t>(eq - at) : n;
    const row* found = nullptr;
    for (const row& r : table) {
      if (same(at, name_n, r.name)) found = &r;
    }
    line why;
    if (found == nullptr) return fail(why.text("WEFT_DEBUG: unknown knob '").text(at, name_n).text("'"));
    const char* value = eq != nullptr ? eq + 1 : at + n;
    const std::size_t value_n = n - static_cast<std::size_t>(value - at);
    const bool good = found->words != nullptr ? parse_word(value, value_n, found->words, &(out->*found->field))
                                              : parse_number(value, value_n, found->max, &(out->*found->field));
    if (!good) {
      return fail(why.text("WEFT_DEBUG: bad value '").text(value, value_n).text("' for ").text(found->name));
    }
    at = end != nullptr ? end + 1 : nullptr;
  }
  if (!makes_noise && out->noise != 0) {
    line why;
    return fail(
        why.text("WEFT_DEBUG: noise=").number(out->noise).text(": only a build with WEFT_CHECKED=ON makes noise"));
  }
  return true;
}

}  // namespace weft::rt
