// error_group: several things at once, of which the first that fails ends the others.
//
// A task_group starts a goroutine for each document, two at a time at most. All of them run under a context of the group's. When
// one fails, that context is cancelled with the exception as its cause: whoever waits unwinds, and wait() throws the
// exception once the last has ended. So after wait() nothing of the group is left, whichever way it went.
//
// Run     build/release/examples/error_group
// Prints  fetched 3 documents, 24 bytes
//         failed: no document "readme"
//         1 of 3 came through, and 2 goroutines unwound
// Go      golang.org/x/sync/errgroup: WithContext, SetLimit(2), Go, Wait. There each goroutine has to look at ctx.Done() itself.
#include <weft/weft.hpp>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <map>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

using namespace std::chrono_literals;

const std::map<std::string, std::string> store{{"hello", "hello, world"}, {"news", "no news"}, {"todo", "sleep"}};

std::string fetch(const std::string& name) {
  weft::sleep(1ms);  // as if it came from far away
  const auto found = store.find(name);
  if (found == store.end()) throw std::runtime_error("no document \"" + name + '"');
  return found->second;
}

// snippet: group
std::size_t fetch_all(const std::vector<std::string>& names) {
  std::vector<std::string> pages(names.size());
  weft::task_group group;
  group.limit(2);
  for (std::size_t i = 0; i < names.size(); ++i) group.go([&, i] { pages[i] = fetch(names[i]); });
  group.wait();  // throws what fetch has thrown first
  std::size_t bytes = 0;
  for (const std::string& page : pages) bytes += page.size();
  return bytes;
}
// snippet: end

struct counts_its_end {
  std::atomic<int>& n;
  ~counts_its_end() { ++n; }
};

// One comes through before the other fails; two more wait for what never comes.
void fail_in_the_middle() {
  std::atomic<int> unwound{0}, through{0};
  weft::wait_group early;
  early.add(1);
  try {
    weft::task_group group;
    group.go([&] {
      fetch("hello");
      ++through;
      early.done();
    });
    for (int i = 0; i < 2; ++i) {
      group.go([&] {
        const counts_its_end end{unwound};
        weft::chan<>().recv();
      });
    }
    group.go([&] {
      early.wait();
      fetch("readme");
    });
    group.wait();
  } catch (const std::exception& e) {
    std::printf("failed: %s\n", e.what());
  }
  std::printf("%d of 3 came through, and %d goroutines unwound\n", through.load(), unwound.load());
}

}  // namespace

int main() {
  return weft::run([] {
    std::printf("fetched 3 documents, %zu bytes\n", fetch_all({"hello", "news", "todo"}));
    fail_in_the_middle();
  });
}
