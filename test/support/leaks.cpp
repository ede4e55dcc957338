#include "support/leaks.hpp"

#include <dirent.h>
#include <malloc.h>
#include <sched.h>

#include <cstdio>
#include <cstring>

#include "model/process.hpp"
#include "os/sys.hpp"
#include "support/build.hpp"

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
  compare(text, "threads", before.threads, now.threads);
  compare(text, "file descriptors", before.fds, now.fds);
  return text;
}

std::string grown_since(const snapshot& before, unsigned runs) {
  // Below this a difference is noise: line buffers, malloc's per-thread caches, the records of the test framework.
  constexpr std::uint64_t heap_noise = 16 << 10;
  constexpr std::uint64_t mapping_noise = 256;
  const snapshot now = take_snapshot();
  std::string text;
  if (now.heap > before.heap + heap_noise) {
    text = "heap: " + std::to_string(now.heap - before.heap) + " bytes more in use after " + std::to_string(runs) +
           " runs";
  }
  if (now.mappings > before.mappings + mapping_noise) {
    text += text.empty() ? "" : ", ";
    text +=
        "mappings: " + std::to_string(now.mappings - before.mappings) + " more after " + std::to_string(runs) + " runs";
  }
  return text;
}

}  // namespace weft::test
