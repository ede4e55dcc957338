// A failed execution as a picture: a column per thread, a row per visible step.
#include "checker/report.hpp"

#include <cctype>
#include <cstdio>
#include <map>

#include "checker/places.hpp"

namespace weft::check {
const char* act_name(act a) {
  switch (a) {
    case act::begin: return "begins";
    case act::load: return "load";
    case act::store: return "store";
    case act::rmw: return "rmw";
    case act::cas: return "cas";
    case act::fence: return "fence";
    case act::futex_wait: return "futex_wait";
    case act::futex_wake: return "futex_wake";
    case act::timeout: return "time is up";
    case act::resume: return "goes on";
    case act::membarrier: return "membarrier";
    case act::spawn: return "starts a thread";
    case act::join: return "joins";
    case act::yield: return "gives way";
    case act::lock: return "locks";
    case act::try_lock: return "try_lock";
    case act::unlock: return "unlocks";
    case act::end: return "ends";
  }
  return "?";
}

namespace {

std::string value_text(std::uint64_t v) {
  char text[32];
  std::snprintf(text, sizeof text, v < 4096 ? "%llu" : "%#llx", static_cast<unsigned long long>(v));
  return text;
}

std::string what_it_did(const event& e) {
  std::string s = act_name(e.what.what);
  switch (e.what.what) {
    case act::load:
      s += std::string(" ") + order_name(e.what.ord) + " = " + value_text(e.value);
      if (e.stale) s += " OLD (new: " + value_text(e.before) + ")";
      break;
    case act::store: s += std::string(" ") + order_name(e.what.ord) + " := " + value_text(e.value); break;
    case act::rmw:
      s += std::string(" ") + order_name(e.what.ord) + " " + value_text(e.before) + " -> " + value_text(e.value);
      break;
    case act::cas:
      s += std::string(" ") + order_name(e.what.ord) + " " + value_text(e.before);
      s += e.ok ? " -> " + value_text(e.value) : std::string(" FAILS") + (e.stale ? " on an old value" : "");
      break;
    case act::fence: s += std::string(" ") + order_name(e.what.ord); break;
    case act::try_lock: s += e.ok ? "" : ", no: it is held"; break;
    case act::futex_wait: s += e.ok ? ", sleeps" : ", no: it is " + value_text(e.value); break;
    default: break;
  }
  return s + e.note;
}

// "pc 0x401234" in a text becomes file:line.
std::string with_places(std::string text) {
  for (std::size_t at = 0; (at = text.find("pc 0x", at)) != std::string::npos;) {
    std::size_t end = at + 5;
    while (end < text.size() && std::isxdigit(static_cast<unsigned char>(text[end])) != 0) ++end;
    const auto pc = static_cast<std::uint32_t>(std::strtoul(text.c_str() + at + 3, nullptr, 16));
    const auto found = places_of({pc});
    const auto it = found.find(pc);
    const std::string by = it == found.end() ? text.substr(at, end - at) : it->second.brief();
    text.replace(at, end - at, by);
    at += by.size();
  }
  return text;
}

}  // namespace

const char* order_name(order o) {
  switch (o) {
    case relaxed: return "relaxed";
    case consume: return "consume";
    case acquire: return "acquire";
    case release: return "release";
    case acq_rel: return "acq_rel";
    case seq_cst: return "seq_cst";
  }
  return "?";
}

std::string failure_with_places() { return with_places(failure_text()); }

void print_timeline(std::size_t last) {
  const std::vector<event>& all = recorded();
  const std::size_t from = all.size() > last ? all.size() - last : 0;
  std::vector<std::uint32_t> pcs;
  std::map<std::uint32_t, std::uint32_t> column;
  for (std::size_t i = from; i < all.size(); ++i) {
    if (all[i].what.pc != 0) pcs.push_back(all[i].what.pc);
    column.emplace(all[i].thread, 0);
  }
  std::uint32_t n = 0;
  for (auto& [thread, c] : column) c = n++;
  const auto where = places_of(pcs);
  const int width = n <= 2 ? 62 : n == 3 ? 50 : 40;
  std::printf("  step");
  for (const auto& [thread, c] : column) {
    char head[24];
    std::snprintf(head, sizeof head, "thread %u", thread);
    std::printf("  %-*s", width, head);
  }
  std::printf("\n");
  if (from != 0) std::printf("   ...  (%zu steps before)\n", from);
  for (std::size_t i = from; i < all.size(); ++i) {
    const event& e = all[i];
    std::string text;
    if (e.what.pc == 0 && !e.note.empty()) {
      text = e.note;
    } else {
      const auto it = where.find(e.what.pc);
      if (it != where.end()) text = it->second.brief() + " ";
      text += what_it_did(e);
    }
    std::printf("  %4zu  %*s%s\n", i, static_cast<int>(column[e.thread]) * (width + 2), "", text.c_str());
  }
}

}  // namespace weft::check
