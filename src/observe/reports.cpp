#include "observe/reports.hpp"

#include "base/atomic.hpp"
#include "observe/child.hpp"
#include "os/sys.hpp"

namespace weft::rt {
namespace {

constinit atomic<std::uint64_t> reporter{0};  // thread id
constinit report_progress without_page{};

// Longer than a report may take (child.cpp): if it is still there then, the first will never end the process.
constexpr std::int64_t patience_ns = 70'000'000'000;

}  // namespace

bool begin_report_sig() {
  const std::uint64_t me = os::thread_id();
  const std::int64_t began = os::now();
  for (;;) {
    std::uint64_t other = 0;
    if (reporter.compare_exchange_strong(other, me, acquire, relaxed)) return true;
    if (other == me) return false;
    if (os::now() - began > patience_ns) return false;
    os::sleep_ns(10'000'000);
  }
}

void end_report() { reporter.store(0, release); }

report_progress* new_progress_sig() {
  void* page = shared_page_sig();
  // Without the page the parent does not hear what was done, and says it again.
  return page != nullptr ? static_cast<report_progress*>(page) : &without_page;
}

void free_progress(report_progress* progress) {
  if (progress == &without_page) {
    without_page = {};
  } else {
    os::unmap(progress, os::page_size());
  }
}

}  // namespace weft::rt
