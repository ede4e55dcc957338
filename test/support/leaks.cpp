#include "support/leaks.hpp"

#include <dirent.h>
#include <malloc.h>
#include <sched.h>

#include <cstdio>
#include <cstring>
#include <thread>

#include "model/process.hpp"
#include "os/sys.hpp"
#include "support/build.hpp"

// There with AddressSanitizer only.
extern "C" {
[[gnu::weak]] void __lsan_disable();
[[gnu::weak]] void __lsan_enable();
}

namespace weft::test {
namespace {

std::uint64_t entries(const char* directory) {
  DIR* dir = ::opendir(directory);
  if (dir == nullptr) return 0;
  std::uint64_t n = 0;
  while (const dirent* e = ::readdir(dir)) {
    if (e->d_name[0] != '.') ++n;
  }
  ::closedir(dir);
  return n;
}

void compare(std::string& text, const char* what, std::uint64_t before, std::uint64_t after) {
  if (before == after) return;
  text += text.empty() ? "" : ", ";
  text += std::string(what) + ": " + std::to_string(before) + " before, " + std::to_string(after) + " after";
}

}  // namespace

expecting_a_failed_run::expecting_a_failed_run() {
  if (__lsan_disable != nullptr) __lsan_disable();
}
expecting_a_failed_run::~expecting_a_failed_run() {
  if (__lsan_enable != nullptr) __lsan_enable();
}

std::uint64_t count_threads() { return entries("/proc/self/task"); }
std::uint64_t count_fds() { return entries("/proc/self/fd") - 1; }  // not the one that looks

std::uint64_t count_mappings() {
  std::FILE* file = std::fopen("/proc/self/maps", "re");
  if (file == nullptr) return 0;
  std::uint64_t n = 0;
  char buf[4096];
  while (const std::size_t got = std::fread(buf, 1, sizeof buf, file)) {
    for (const char* at = buf;
         (at = static_cast<const char*>(std::memchr(at, '\n', static_cast<std::size_t>(buf + got - at)))) != nullptr;
         ++at) {
      ++n;
    }
  }
  std::fclose(file);
  return n;
}

snapshot take_snapshot() {
  if constexpr (built_with_tsan) {
    // Its own thread, which stays, is started with the first of the program's.
    [[maybe_unused]] static const bool started = (std::thread([] {}).join(), true);
  }
  snapshot s;
  s.stacks = rt::the_process.stacks.slots_in_use();
  s.proxies = rt::the_process.proxies_in_use.load(rt::relaxed);
  s.runtimes = rt::the_process.runtimes.load(rt::relaxed);
  s.threads = count_threads();
  s.fds = count_fds();
  s.mappings = count_mappings();
  if constexpr (!built_with_sanitizer) s.heap = ::mallinfo2().uordblks;
  return s;
}

std::string leaked_since(const snapshot& before) {
  snapshot now;
  const std::int64_t end = rt::os::now() + 1'000'000'000;
  do {
    now = take_snapshot();
    if (now.threads <= before.threads && now.fds <= before.fds) break;
    ::sched_yield();
  } while (rt::os::now() < end);
  std::string text;
  compare(text, "stacks in use", before.stacks, now.stacks);
  compare(text, "proxies of plain threads in use", before.proxies, now.proxies);
  compare(text, "runtimes", before.runtimes, now.runtimes);
  // Fewer: one that nobody joins had not ended yet when the test began.
  if (now.threads > before.threads) compare(text, "threads", before.threads, now.threads);
  compare(text, "file descriptors", before.fds, now.fds);
  return text;
}

std::string grown_in_each_run(const std::vector<snapshot>& after) {
  // Fewer runs prove nothing: a cache may have filled up a little more in each.
  if (after.size() < 4) return {};
  auto leaked = [&](std::uint64_t snapshot::*what, std::uint64_t each, std::uint64_t all) -> std::uint64_t {
    for (std::size_t i = 1; i < after.size(); ++i) {
      if (after[i].*what < after[i - 1].*what + each) return 0;
    }
    const std::uint64_t growth = after.back().*what - after.front().*what;
    return growth > all ? growth : 0;
  };
  const std::string runs = " more after " + std::to_string(after.size() - 1) + " runs";
  std::string text;
  if (const std::uint64_t n = leaked(&snapshot::heap, 512, 16 << 10)) {
    text = "heap: " + std::to_string(n) + " bytes" + runs;
  }
  if (const std::uint64_t n = leaked(&snapshot::mappings, 1, 64)) {
    text += (text.empty() ? "" : ", ") + ("mappings: " + std::to_string(n) + runs);
  }
  return text;
}

}  // namespace weft::test
